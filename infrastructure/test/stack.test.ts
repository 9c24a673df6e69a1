// What a deployment relies on: outputs that releases read, and a template that needs nothing prepared in the account.
import { App } from "aws-cdk-lib";
import { describe, expect, test } from "vitest";

import { readInputs } from "../lib/inputs.ts";
import { ChartsStack } from "../lib/stack.ts";
import { EVERYTHING, REQUIRED, stackOf, synthesize, USUAL } from "./support.ts";

const OUTPUTS = ["BucketArn", "BucketName", "DeployRoleArn", "DistributionDomain", "DistributionId", "PublishRoleArn", "RepositoryUrl"];

test.each([
  ["the least", REQUIRED],
  ["the usual", USUAL],
  ["everything", EVERYTHING],
])("with %s asked for, there are the same outputs", (_, environment) => {
  const outputs = synthesize(environment).toJSON()["Outputs"];
  expect(Object.keys(outputs).sort()).toEqual(OUTPUTS);
  expect(outputs.RepositoryUrl.Value).toBe("https://charts.kube9.io");
  for (const output of Object.values<any>(outputs)) expect(output).not.toHaveProperty("Export");
});

describe("the template", () => {
  const app = new App();
  const inputs = readInputs(EVERYTHING);
  new ChartsStack(app, inputs.stackName, inputs);
  const artifact = app.synth().getStackByName("kube9-operator-charts");

  test("fits into a request", () => {
    expect(Buffer.byteLength(JSON.stringify(artifact.template, undefined, 1))).toBeLessThan(51_200);
  });

  test("H8: needs no bootstrap: no assets, parameters, rules, functions or roles to assume", () => {
    expect(artifact.assets).toEqual([]);
    expect(Object.keys(artifact.template).sort()).toEqual(["Description", "Mappings", "Outputs", "Resources"]);
    expect(artifact.assumeRoleArn).toBeUndefined();
    expect(artifact.cloudFormationExecutionRoleArn).toBeUndefined();
    const types = Object.values<any>(artifact.template.Resources).map((resource) => resource.Type);
    expect(types.filter((type) => /^AWS::Lambda|^Custom::|^AWS::CloudFormation::CustomResource/.test(type))).toEqual([]);
  });

  test("is not deleted by mistake", () => expect(artifact.terminationProtection).toBe(true));

  test("is for one account, and the region of certificates", () => {
    expect(artifact.environment).toMatchObject({ account: "123456789012", region: "us-east-1" });
  });

  test("does not depend on the machine or the day", () => {
    expect(synthesize(EVERYTHING).toJSON()).toEqual(artifact.template);
  });
});

test("no warning is left", () => {
  const app = new App();
  const inputs = readInputs(USUAL);
  const stack = new ChartsStack(app, inputs.stackName, inputs);
  const levels = app.synth().getStackArtifact(stack.artifactId).messages.map((message) => message.entry.data);
  expect(levels).toEqual([]);
});

test("the stack has the name that releases know", () => expect(stackOf().stackName).toBe("kube9-operator-charts"));

test("the usual template is as it was reviewed", () => expect(synthesize().toJSON()).toMatchSnapshot());
