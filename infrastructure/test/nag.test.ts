// AWS's own list of good practice, by cdk-nag. What it finds and we leave is listed with the reason, and nothing else may be there;
// what is listed and no longer found is a mistake, too.
import { App } from "aws-cdk-lib";
import { AwsSolutionsChecks } from "cdk-nag";
import { expect, test } from "vitest";

import { readInputs } from "../lib/inputs.ts";
import { ChartsStack } from "../lib/stack.ts";
import { EVERYTHING, type Environment, USUAL } from "./support.ts";

type Accepted = [rule: string, construct: string, reason: string];

const ALWAYS: Accepted[] = [
  ["S1", "Hosting/Bucket", "only the distribution reads it, whose logs can be turned on; who writes is in CloudTrail"],
  ["CFR1", "Hosting/Distribution", "charts are for everybody, everywhere"],
  ["CFR2", "Hosting/Distribution", "static files without input: a firewall costs more than all the rest and has nothing to filter"],
  ["IAM5[Resource::<Bucket.Arn>/*.tgz]", "Publisher/Publish", "every version is a new object; the bucket's policy lets each be written once"],
  ["IAM5[Resource::<Bucket.Arn>/*.json]", "Publisher/Publish", "every version has a record; the bucket's policy lets each be written once"],
  ["IAM5[Resource::<Bucket.Arn>/*.html]", "Publisher/Publish", "pages are numbered, and can all be made again from the index"],
  ["IAM5[Resource::<Bucket.Arn>/*icon.png]", "Publisher/Publish", "each of several charts has its picture, which is in the tree"],
  ["IAM5[Resource::<Bucket.Arn>/*icon.svg]", "Publisher/Publish", "the same"],
  ["IAM5[Resource::arn:aws:cloudformation:us-east-1:123456789012:stack/kube9-operator-charts/*]", "Publisher/Publish", "a stack's ARN ends with a number that is not known before"],
  ["IAM5[Resource::arn:aws:cloudformation:us-east-1:123456789012:stack/kube9-operator-charts/*]", "Publisher/Deploy", "the same"],
  ["IAM5[Resource::*]", "Publisher/Deploy", "asking what a template says and whether it is valid knows no narrower resource"],
  ["IAM5[Action::s3:GetBucket*]", "Publisher/Deploy", "CloudFormation reads every setting of a bucket, on two buckets"],
  ["IAM5[Resource::<Bucket.Arn>/*]", "Publisher/Deploy", "charts of an earlier repository are taken over; it cannot delete, nor overwrite"],
  ["IAM5[Resource::arn:aws:route53:::change/*]", "Publisher/Deploy", "a change has a number that is not known before; it can only be looked at"],
  ["IAM5[Resource::arn:aws:cloudwatch:us-east-1:123456789012:alarm:kube9-operator-charts-*]", "Publisher/Deploy", "CloudFormation names the alarms, after the stack"],
  ["IAM5[Resource::arn:aws:sns:us-east-1:123456789012:kube9-operator-charts-*]", "Publisher/Deploy", "CloudFormation names the topic, after the stack"],
  ["IAM5[Resource::arn:aws:iam::123456789012:role/kube9-operator-charts-*]", "Publisher/Deploy", "both roles of the stack, to look at"],
];
/** Where somebody is told of alarms, writes of the index are watched. */
const WATCHED: Accepted[] = [["S1", "Monitoring/Watch/Kept", "only CloudTrail writes there, and its files are signed"]];
const WITHOUT_LOGS: Accepted[] = [["CFR3", "Hosting/Distribution", "logs hold the addresses of users: they are kept where somebody asks for them"]];
const WITH_LOGS: Accepted[] = [["S1", "Hosting/Logs", "logs of who reads logs would never end"]];

function findings(environment: Environment): string[] {
  const inputs = readInputs(environment);
  const stack = new ChartsStack(new App(), inputs.stackName, inputs);
  const report = new AwsSolutionsChecks(stack).validateScope(stack);
  return report.violations.flatMap(({ ruleName, violatingResources }) => {
    const rule = ruleName.replace("AwsSolutions-", "").replace(/<HostingBucket[0-9A-F]{8}\.Arn>/, "<Bucket.Arn>");
    return violatingResources.map(({ constructPath }) => `${rule} in ${construct(constructPath)}`);
  });
}

/** The path of a construct within the stack, without the resource's own name. */
const construct = (path = "") => path.split("/").slice(1, -1).join("/");

test.each([
  ["the usual", USUAL, [...ALWAYS, ...WITHOUT_LOGS]],
  ["everything", EVERYTHING, [...ALWAYS, ...WITH_LOGS, ...WATCHED]],
])("with %s asked for, AWS's list has nothing to say that has no answer", (_, environment, accepted) => {
  expect(findings(environment).sort()).toEqual(accepted.map(([rule, where]) => `${rule} in ${where}`).sort());
});

test("every answer says something", () => {
  for (const [, , reason] of [...ALWAYS, ...WITHOUT_LOGS, ...WITH_LOGS, ...WATCHED]) expect(reason).not.toBe("");
});
