// What the environment may say, and how it is told what is wrong with it.
import { describe, expect, test } from "vitest";

import { readInputs, WrongInputs } from "../lib/inputs.ts";
import { ACCOUNT, BREAK_GLASS, PROVIDER, REQUIRED, USUAL, type Environment } from "./support.ts";

function problems(environment: Environment): readonly string[] {
  try {
    readInputs(environment);
  } catch (error) {
    if (error instanceof WrongInputs) return error.problems;
    throw error;
  }
  return [];
}

test("four variables are enough", () => {
  expect(readInputs(REQUIRED)).toEqual({
    stackName: "kube9-operator-charts",
    domain: "charts.kube9.io",
    account: ACCOUNT,
    certificateArn: REQUIRED.CHARTS_CERTIFICATE_ARN,
    hostedZoneId: REQUIRED.CHARTS_HOSTED_ZONE_ID,
    breakGlass: [BREAK_GLASS],
    priceClass: "PriceClass_All",
    dns: true,
    accessLogs: false,
    detailedMetrics: false,
  });
});

test("everything that is wrong is said at once", () => {
  expect(problems({ AWS_ACCOUNT_ID: "12", CHARTS_DNS: "yes" })).toEqual([
    `AWS_ACCOUNT_ID is "12"; it must be the account's 12 digits`,
    expect.stringMatching(/^CHARTS_CERTIFICATE_ARN is not set; it must be the ARN of a certificate in us-east-1/),
    expect.stringMatching(/^CHARTS_HOSTED_ZONE_ID is not set; it must be the id of a hosted zone/),
    expect.stringMatching(/^CHARTS_BREAK_GLASS is not set; it must be ARNs of IAM roles or users/),
    `CHARTS_DNS is "yes"; it must be on or off`,
  ]);
});

test("the message lists the problems, one a line", () => {
  expect(() => readInputs({ ...REQUIRED, CHARTS_DNS: "1", AWS_ACCOUNT_ID: "" })).toThrow(
    "The infrastructure's inputs are not right:\n  - AWS_ACCOUNT_ID is not set; it must be the account's 12 digits\n  - CHARTS_DNS is",
  );
});

test("an empty variable, and white space around one, mean nothing", () => {
  const empty = { CHARTS_DOMAIN: "", CHARTS_BREAK_GLASS: `\n ${BREAK_GLASS} `, GITHUB_REPOSITORY_ID: "", AWS_ACCOUNT_ID: ` ${ACCOUNT}\n` };
  expect(readInputs({ ...REQUIRED, ...empty })).toEqual(readInputs(REQUIRED));
});

describe.each([
  ["AWS_ACCOUNT_ID", ["1234", "12345678901a", "1234-5678-9012"]],
  ["CHARTS_CERTIFICATE_ARN", [`arn:aws:acm:eu-west-1:${ACCOUNT}:certificate/0123`, "0123"]],
  ["CHARTS_HOSTED_ZONE_ID", ["/hostedzone/Z0123456789ABC", "kube9.io", "z0123"]],
  ["CHARTS_STACK", ["1st", "a_b", "a".repeat(57)]],
  ["CHARTS_DOMAIN", ["https://charts.kube9.io", "kube9.io", "charts.kube9.io/", "Charts.kube9.io", "*.kube9.io"]],
  ["CHARTS_BREAK_GLASS", ["*", `arn:aws:iam::${ACCOUNT}:role/*`, `arn:aws:sts::${ACCOUNT}:assumed-role/Admin/ann`, `${BREAK_GLASS} Admin`]],
  ["GITHUB_REPOSITORY_ID", ["alto9/kube9-operator", "0", "*", "12 "+"34"]],
  ["GITHUB_REPOSITORY", ["kube9-operator", "*/kube9-operator", "alto9/kube9-operator/x"]],
  ["CHARTS_GITHUB_PROVIDER_ARN", [`arn:aws:iam::${ACCOUNT}:oidc-provider/example.com`]],
  ["CHARTS_PRICE_CLASS", ["All", "PriceClass_300"]],
  ["CHARTS_DNS", ["true"]],
  ["CHARTS_ACCESS_LOGS", ["yes"]],
  ["CHARTS_DETAILED_METRICS", ["ON"]],
  ["CHARTS_ALARM_EMAIL", ["ann"]],
  ["CHARTS_ALARM_TOPIC_ARN", [`arn:aws:sns:eu-west-1:${ACCOUNT}:pager`]],
])("%s", (name, values) => {
  test.each(values)("is not %j", (value) => {
    const found = problems({ ...USUAL, [name]: value });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(new RegExp(`^${name} is ".*"; it must be `));
  });
});

test.each([
  ["CHARTS_CERTIFICATE_ARN", REQUIRED.CHARTS_CERTIFICATE_ARN],
  ["CHARTS_BREAK_GLASS", BREAK_GLASS],
  ["CHARTS_GITHUB_PROVIDER_ARN", PROVIDER],
])("%s of another account is a mistake", (name, value) => {
  const found = problems({ ...USUAL, [name]: value.replace(ACCOUNT, "999999999999") });
  expect(found).toEqual([expect.stringMatching(`^${name} names account 999999999999, but AWS_ACCOUNT_ID is ${ACCOUNT}`)]);
});

test("those who may break the glass can be on several lines", () => {
  const user = `arn:aws:iam::${ACCOUNT}:user/ann`;
  expect(readInputs({ ...REQUIRED, CHARTS_BREAK_GLASS: `${BREAK_GLASS},\n  ${user}` }).breakGlass).toEqual([BREAK_GLASS, user]);
});
