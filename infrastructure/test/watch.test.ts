// Who hears of a change of the index that no release made: CloudTrail's records, held against the rule.
import { describe, expect, test } from "vitest";

import { ACCOUNT, BREAK_GLASS, BUCKET, DEPLOYER, EVERYTHING, KEPT, only, PUBLISHER, statements, synthesize, USUAL } from "./support.ts";

const template = synthesize(EVERYTHING);
const rule = only(template, "AWS::Events::Rule").Properties;
const trail = only(template, "AWS::CloudTrail::Trail").Properties;

type Event = Record<string, unknown>;

/** What CloudTrail writes of a change of an object (its user guide, "CloudTrail record contents"). */
function record(caller: Event, changes: Event = {}, parameters: Event = {}): Event {
  const requestParameters = { bucketName: `kube9-charts-${ACCOUNT}`, key: "index.yaml", ...parameters };
  const detail = { eventSource: "s3.amazonaws.com", eventName: "PutObject", userIdentity: caller, requestParameters, ...changes };
  return { source: "aws.s3", "detail-type": "AWS API Call via CloudTrail", detail };
}

const session = (role: string): Event => ({
  type: "AssumedRole",
  arn: `${role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")}/session`,
  sessionContext: { sessionIssuer: { type: "Role", arn: role } },
});
const user: Event = { type: "IAMUser", arn: `arn:aws:iam::${ACCOUNT}:user/ann` };

/** Whether a pattern finds an event, by the part of EventBridge's rules that ours uses. */
function finds(pattern: any, event: any): boolean {
  if (!Array.isArray(pattern)) return Object.entries(pattern).every(([key, inner]) => finds(inner, event?.[key]));
  return pattern.some((one) => {
    if (typeof one === "string") return one === event;
    if ("exists" in one) return one.exists === (event !== undefined);
    if ("anything-but" in one) return event !== undefined && !one["anything-but"].includes(event);
    throw new Error(`the tests do not know the pattern ${JSON.stringify(one)}`);
  });
}

const isTold = (event: Event) => finds(rule.EventPattern, event);

describe("a change of the index is told", () => {
  test.each([
    ["a break-glass principal", session(BREAK_GLASS)],
    ["the deploy role", session(DEPLOYER)],
    ["a role whose name begins like the publish role's", session(`${PUBLISHER}-2`)],
    ["a user with keys", user],
  ])("when %s makes it", (_, caller) => expect(isTold(record(caller))).toBe(true));

  test.each(["CopyObject", "CompleteMultipartUpload", "DeleteObject"])("when it is a %s", (eventName) => {
    expect(isTold(record(user, { eventName }))).toBe(true);
  });
});

describe("nobody is told", () => {
  test("of a release", () => expect(isTold(record(session(PUBLISHER)))).toBe(false));
  test("of what was refused", () => expect(isTold(record(user, { errorCode: "AccessDenied" }))).toBe(false));
  test("of reading", () => expect(isTold(record(user, { eventName: "GetObject" }))).toBe(false));
  test("of another object", () => expect(isTold(record(user, {}, { key: "a-1.0.0.tgz" }))).toBe(false));
  test("of another bucket", () => expect(isTold(record(user, {}, { bucketName: "other" }))).toBe(false));
});

test("the address and the topic are told who it was, and the former's topic lets EventBridge in", () => {
  expect(rule.Targets.map(({ Arn }: any) => Arn)).toEqual(["our topic", EVERYTHING.CHARTS_ALARM_TOPIC_ARN]);
  for (const { InputTransformer } of rule.Targets) expect(Object.values(InputTransformer.InputPathsMap)).toContain("$.detail.userIdentity.arn");
  const topic = statements(only(template, "AWS::SNS::TopicPolicy").Properties.PolicyDocument);
  expect(topic.filter(({ effect }) => effect === "Allow")).toMatchObject([
    { principal: { Service: ["events.amazonaws.com"] }, actions: ["sns:Publish"], resources: ["our topic"] },
  ]);
});

test("the trail keeps the writes of the index and nothing else", () => {
  expect(trail.AdvancedEventSelectors).toHaveLength(1);
  expect(trail.AdvancedEventSelectors[0].FieldSelectors).toEqual([
    { Field: "eventCategory", Equals: ["Data"] },
    { Field: "resources.type", Equals: ["AWS::S3::Object"] },
    { Field: "resources.ARN", Equals: [`${BUCKET}/index.yaml`] },
    { Field: "readOnly", Equals: ["false"] },
  ]);
  expect(trail).toMatchObject({ IsLogging: true, EnableLogFileValidation: true, S3BucketName: KEPT.replace("arn:aws:s3:::", "") });
});

test("only this trail writes into its bucket", () => {
  const policy = only(template, "AWS::S3::BucketPolicy", (_, id) => id.startsWith("MonitoringWatchKept")).Properties.PolicyDocument;
  const ours = { StringEquals: { "aws:SourceArn": `arn:aws:cloudtrail:us-east-1:${ACCOUNT}:trail/${trail.TrailName}` } };
  const trailing = { effect: "Allow", principal: { Service: ["cloudtrail.amazonaws.com"] }, conditions: ours };
  expect(statements(policy).filter(({ effect }) => effect === "Allow")).toMatchObject([
    { ...trailing, actions: ["s3:GetBucketAcl"], resources: [KEPT] },
    { ...trailing, actions: ["s3:PutObject"], resources: [`${KEPT}/AWSLogs/${ACCOUNT}/*`] },
  ]);
});

test("nothing is kept where nobody would be told", () => synthesize(USUAL).resourceCountIs("AWS::CloudTrail::Trail", 0));
