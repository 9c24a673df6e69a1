// What the bucket itself refuses, whoever asks and with whatever tool: it is the last line behind "nothing is lost", and the
// only one that a mistyped `aws s3 sync` meets.
import { AnyPrincipal, Effect, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Bucket } from "aws-cdk-lib/aws-s3";

/** The one object that changes. */
export const INDEX = "index.yaml";
/** The objects that never change. */
export const ARCHIVES = "*.tgz";

/** Denials are about names rather than principals, so that they hold for those too who get their rights elsewhere. */
type Conditions = Record<string, Record<string, unknown>>;

/** Adds every denial; `guardians` are the ARNs of those who may repair. */
export function guard(bucket: Bucket, guardians: readonly string[]): void {
  const others: Conditions = { ArnNotEquals: { "aws:PrincipalArn": guardians } };
  const statements = [
    // Multipart uploads cannot carry the header from the start, and are refused with it: a chart is a single request.
    deny("ArchivesAreWrittenOnce", ["s3:PutObject"], bucket.arnForObjects(ARCHIVES), { Null: { "s3:if-none-match": "true" } }),
    // Two conditions in one operator must both hold: this is the write that carries neither header.
    deny("IndexIsNeverOverwrittenBlindly", ["s3:PutObject"], bucket.arnForObjects(INDEX), {
      Null: { "s3:if-match": "true", "s3:if-none-match": "true" },
    }),
    deny("IndexIsOnlySwappedByPublishers", ["s3:PutObject"], bucket.arnForObjects(INDEX), {
      Null: { "s3:if-match": "true" },
      ...others,
    }),
    deny("ObjectsStay", ["s3:DeleteObject", "s3:DeleteObjectVersion"], bucket.arnForObjects("*"), others),
    deny("SettingsStay", SETTINGS, bucket.bucketArn, others),
  ];
  statements.forEach((statement) => bucket.addToResourcePolicy(statement));
}

/** Each of these would take one of the guarantees away. */
const SETTINGS = [
  "s3:DeleteBucket",
  "s3:DeleteBucketPolicy",
  "s3:PutBucketOwnershipControls",
  "s3:PutBucketPolicy",
  "s3:PutBucketPublicAccessBlock",
  "s3:PutBucketVersioning",
  "s3:PutEncryptionConfiguration",
  "s3:PutLifecycleConfiguration",
  "s3:PutReplicationConfiguration",
];

function deny(sid: string, actions: readonly string[], resource: string, conditions: Conditions): PolicyStatement {
  return new PolicyStatement({
    sid,
    effect: Effect.DENY,
    principals: [new AnyPrincipal()],
    actions: [...actions],
    resources: [resource],
    conditions,
  });
}
