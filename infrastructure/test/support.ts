// The stack that the tests look at, and its template with every reference replaced by what it would become.
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";

import { readInputs } from "../lib/inputs.ts";
import { ChartsStack } from "../lib/stack.ts";

export const ACCOUNT = "123456789012";
export const BREAK_GLASS = `arn:aws:iam::${ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef`;
export const DEPLOYER = `arn:aws:iam::${ACCOUNT}:role/kube9-operator-charts-deploy`;
export const PUBLISHER = `arn:aws:iam::${ACCOUNT}:role/kube9-operator-charts-publish`;
export const BUCKET = `arn:aws:s3:::kube9-charts-${ACCOUNT}`;
/** The bucket that CloudTrail writes to, by the name that CloudFormation made up. */
export const KEPT = "arn:aws:s3:::kube9-operator-charts-watch";
export const DISTRIBUTION = `arn:aws:cloudfront::${ACCOUNT}:distribution/E0000000000000`;
export const PROVIDER = `arn:aws:iam::${ACCOUNT}:oidc-provider/token.actions.githubusercontent.com`;

/** The least that a deployment must be told. */
export const REQUIRED = {
  AWS_ACCOUNT_ID: ACCOUNT,
  CHARTS_BREAK_GLASS: BREAK_GLASS,
  CHARTS_CERTIFICATE_ARN: `arn:aws:acm:us-east-1:${ACCOUNT}:certificate/01234567-89ab-cdef-0123-456789abcdef`,
  CHARTS_HOSTED_ZONE_ID: "Z0123456789ABC",
};
/** What production is told. */
export const USUAL = { ...REQUIRED, GITHUB_REPOSITORY_ID: "987654321" };

/** Everything on: the largest template there is. */
export const EVERYTHING = {
  ...USUAL,
  CHARTS_ACCESS_LOGS: "on",
  CHARTS_DETAILED_METRICS: "on",
  CHARTS_ALARM_EMAIL: "ann@example.com",
  CHARTS_ALARM_TOPIC_ARN: "arn:aws:sns:us-east-1:123456789012:pager",
};

export type Environment = Record<string, string>;

export interface Resource {
  readonly Type: string;
  readonly Properties: any;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

/** A statement of any policy, lists where IAM allows single values, too. */
export interface Statement {
  readonly sid: string;
  readonly effect: "Allow" | "Deny";
  readonly principal: Record<string, string[]>;
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditions: Record<string, Record<string, unknown>>;
}

export function stackOf(environment: Environment = USUAL): ChartsStack {
  const inputs = readInputs(environment);
  return new ChartsStack(new App(), inputs.stackName, inputs);
}

export function synthesize(environment: Environment = USUAL): Template {
  return Template.fromStack(stackOf(environment));
}

/** The only resource of a type whose properties or logical id the predicate likes. */
export function only(template: Template, type: string, like: (resource: Resource, id: string) => boolean = () => true): Resource {
  const found = Object.entries(template.findResources(type)).filter(([id, resource]) => like(resource as Resource, id));
  if (found.length !== 1) throw new Error(`${found.length} resources of type ${type}: ${found.map(([id]) => id).join(", ")}`);
  return resolve(found[0]![1]) as Resource;
}

export const chartBucket = (template: Template) =>
  only(template, "AWS::S3::Bucket", (bucket) => bucket.Properties.BucketName === `kube9-charts-${ACCOUNT}`);
export const chartPolicy = (template: Template) =>
  only(template, "AWS::S3::BucketPolicy", (_, id) => id.startsWith("HostingBucketPolicy"));
export const distribution = (template: Template) => only(template, "AWS::CloudFront::Distribution").Properties.DistributionConfig;
export const role = (template: Template, name: string) =>
  only(template, "AWS::IAM::Role", (resource) => resource.Properties.RoleName === `kube9-operator-charts-${name}`).Properties;

export function statements(document: any): Statement[] {
  return document.Statement.map((statement: any) => ({
    sid: statement.Sid ?? "",
    effect: statement.Effect,
    principal: Object.fromEntries(Object.entries(statement.Principal ?? {}).map(([kind, who]) => [kind, list(who)])),
    actions: list(statement.Action),
    resources: list(statement.Resource ?? "*"),
    conditions: statement.Condition ?? {},
  }));
}

export const bucketStatements = (template: Template) => statements(chartPolicy(template).Properties.PolicyDocument);
export const roleStatements = (template: Template, name: string) =>
  role(template, name).Policies.flatMap((policy: any) => statements(policy.PolicyDocument)) as Statement[];

function list(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]) as string[];
}

/** A reference that is not known here is an error: a test must not compare with something that it made up. */
function resolve(value: any): any {
  if (Array.isArray(value)) return value.map(resolve);
  if (typeof value !== "object" || value === null) return value;
  if ("Fn::Join" in value) return value["Fn::Join"][1].map(resolve).join(value["Fn::Join"][0]);
  if ("Fn::GetAtt" in value) return known(value["Fn::GetAtt"].join("."));
  if ("Fn::FindInMap" in value) return `map ${value["Fn::FindInMap"][0]}`;
  if ("Ref" in value) return known(value.Ref);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
}

const KNOWN: readonly [RegExp, string][] = [
  [/^AWS::Partition$/, "aws"],
  [/^AWS::AccountId$/, ACCOUNT],
  [/^HostingBucket[0-9A-F]{8}\.Arn$/, BUCKET],
  [/^HostingBucket[0-9A-F]{8}\.RegionalDomainName$/, `kube9-charts-${ACCOUNT}.s3.us-east-1.amazonaws.com`],
  [/^HostingBucket[0-9A-F]{8}$/, `kube9-charts-${ACCOUNT}`],
  [/^HostingLogs[0-9A-F]{8}\.RegionalDomainName$/, "the log bucket's name"],
  [/^HostingDistribution[0-9A-F]{8}\.DomainName$/, "d0.cloudfront.net"],
  [/^HostingDistribution[0-9A-F]{8}$/, "E0000000000000"],
  [/^HostingHeaders[0-9A-F]{8}$/, "our-headers"],
  [/^HostingOriginAccess[0-9A-F]{8}\.Id$/, "E0AAAAAAAAAAAA"],
  [/^PublisherGitHub[0-9A-F]{8}$/, PROVIDER],
  [/^PublisherPublish[0-9A-F]{8}\.Arn$/, PUBLISHER],
  [/^PublisherDeploy[0-9A-F]{8}\.Arn$/, DEPLOYER],
  [/^MonitoringTopic[0-9A-F]{8}$/, "our topic"],
  [/^MonitoringWatchKept[0-9A-F]{8}\.Arn$/, KEPT],
  [/^MonitoringWatchKept[0-9A-F]{8}$/, KEPT.replace("arn:aws:s3:::", "")],
];

function known(reference: string): string {
  const found = KNOWN.find(([pattern]) => pattern.test(reference));
  if (found === undefined) throw new Error(`the tests do not know what ${reference} becomes`);
  return found[1];
}
