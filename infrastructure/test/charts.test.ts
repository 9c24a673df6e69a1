// The app itself, run as the CDK CLI runs it.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const HERE = fileURLToPath(new URL("..", import.meta.url));

test("a wrong environment is told in a few lines, without a stack trace", () => {
  const environment = { PATH: process.env["PATH"], AWS_ACCOUNT_ID: "123456789012" };
  const run = spawnSync("node", ["--import", "tsx", "bin/charts.ts"], { cwd: HERE, env: environment, encoding: "utf8" });
  expect(run.status).toBe(1);
  expect(run.stdout).toBe("");
  expect(run.stderr.trimEnd().split("\n")).toEqual([
    "The infrastructure's inputs are not right:",
    expect.stringMatching("CHARTS_CERTIFICATE_ARN is not set"),
    expect.stringMatching("CHARTS_HOSTED_ZONE_ID is not set"),
    expect.stringMatching("CHARTS_BREAK_GLASS is not set"),
  ]);
});
