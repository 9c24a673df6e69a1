// Who else writes the index: a release does it by the publish role, and whoever does it otherwise is a person with a break-glass
// principal, or somebody who should not have got that far. Either is worth a word.
//
// CloudTrail is the only one in AWS that knows who wrote an object: S3's own events name the account and no role, and its metrics count
// requests and no callers. Its trail keeps the writes of one object, so that it costs next to nothing, and hands them to EventBridge within
// minutes.
import { Duration, Stack } from "aws-cdk-lib";
import { CfnTrail } from "aws-cdk-lib/aws-cloudtrail";
import { EventField, type EventPattern, Rule, RuleTargetInput } from "aws-cdk-lib/aws-events";
import { SnsTopic } from "aws-cdk-lib/aws-events-targets";
import { type IRole, PolicyStatement, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Bucket, type IBucket } from "aws-cdk-lib/aws-s3";
import type { ITopic } from "aws-cdk-lib/aws-sns";
import { Construct } from "constructs";

import { INDEX } from "./guards.ts";
import { PRIVATE } from "./hosting.ts";

/** What the watch is told. */
export interface WatchProps {
  /** The bucket of the index. */
  readonly bucket: IBucket;
  /** The role by which releases write it. */
  readonly publishRole: IRole;
  /** Who is told. A topic of somebody else must let `events.amazonaws.com` publish. */
  readonly topics: readonly ITopic[];
}

const CLOUDTRAIL = new ServicePrincipal("cloudtrail.amazonaws.com");

/** A trail of what is written to the index, and a rule for what no release wrote. */
export class Watch extends Construct {
  constructor(scope: Construct, id: string, props: WatchProps) {
    super(scope, id);
    this.trail(props.bucket);
    const by = EventField.fromPath("$.detail.userIdentity.arn");
    const text = `${INDEX} was changed by ${by} (${EventField.fromPath("$.detail.eventName")}, from ${EventField.fromPath("$.detail.sourceIPAddress")}, at ${EventField.time}). No release does that. If nobody meant to, docs/runbook.md says how to go back.`;
    new Rule(this, "Rule", {
      description: `${INDEX} was written by somebody else than a release`,
      eventPattern: writtenByOthers(props),
      targets: props.topics.map((topic) => new SnsTopic(topic, { message: RuleTargetInput.fromText(text) })),
    });
  }

  private trail(watched: IBucket): void {
    const { account, region, stackName } = Stack.of(this);
    const name = `${stackName}-index`;
    const kept = this.trailBucket();
    // It is named ahead, so that the bucket's policy can name it before it exists.
    const only = { StringEquals: { "aws:SourceArn": `arn:aws:cloudtrail:${region}:${account}:trail/${name}` } };
    const grant = (action: string, resource: string, conditions: object) =>
      new PolicyStatement({ principals: [CLOUDTRAIL], actions: [action], resources: [resource], conditions });
    kept.addToResourcePolicy(grant("s3:GetBucketAcl", kept.bucketArn, only));
    kept.addToResourcePolicy(grant("s3:PutObject", kept.arnForObjects(`AWSLogs/${account}/*`), only));
    const trail = new CfnTrail(this, "Trail", {
      trailName: name,
      s3BucketName: kept.bucketName,
      isLogging: true,
      enableLogFileValidation: true,
      advancedEventSelectors: [
        {
          name: "writes of the index",
          fieldSelectors: [
            { field: "eventCategory", equalTo: ["Data"] },
            { field: "resources.type", equalTo: ["AWS::S3::Object"] },
            { field: "resources.ARN", equalTo: [watched.arnForObjects(INDEX)] },
            { field: "readOnly", equalTo: ["false"] },
          ],
        },
      ],
    });
    // CloudTrail tries the bucket out when the trail is made.
    if (kept.policy) trail.node.addDependency(kept.policy);
  }

  private trailBucket(): Bucket {
    return new Bucket(this, "Kept", {
      ...PRIVATE,
      lifecycleRules: [{ id: "OldWrites", expiration: Duration.days(365) }],
    });
  }
}

/** What CloudTrail tells of writes that went well, of all but the publish role. A user has no session, and so no issuer of one. */
function writtenByOthers({ bucket, publishRole }: WatchProps): EventPattern {
  return {
    source: ["aws.s3"],
    detailType: ["AWS API Call via CloudTrail"],
    detail: {
      eventSource: ["s3.amazonaws.com"],
      eventName: ["PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject"],
      errorCode: [{ exists: false }],
      requestParameters: { bucketName: [bucket.bucketName], key: [INDEX] },
      userIdentity: { sessionContext: { sessionIssuer: { arn: [{ "anything-but": [publishRole.roleArn] }, { exists: false }] } } },
    },
  };
}
