// What the bucket itself refuses, whoever asks and with whatever tool: it is the last line behind "nothing is lost", and the
// only one that a mistyped `aws s3 sync` meets.
import { AnyPrincipal, Effect, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Bucket } from "aws-cdk-lib/aws-s3";

/** What charts are found by. It changes with every release. */
export const INDEX = "index.yaml";
/** What people read of it: pages, their style sheet, each chart's picture; and what Artifact Hub does. Any release can make them again. */
export const PAGES = ["*.html", "page.css", "*icon.png", "*icon.svg", "artifacthub-repo.yml"];
/** The page at `/`. */
export const FRONT_PAGE = "index.html";
/** The charts themselves. They never change. */
export const ARCHIVES = "*.tgz";
/** What is known of each version, beside its archive. It never changes, either: entries of the index leave out what is in it. */
export const RECORDS = "*.json";

/** Denials are about names rather than principals, so that they hold for those too who get their rights elsewhere. */
type Conditions = Record<string, Record<string, unknown>>;

/** Those for whom a denial makes an exception, by their ARNs. */
export interface Guardians {
  /** The role that deploys: it may put the first index, and nothing else of what is denied. */
  readonly deployRole: string;
  /** People who may repair. */
  readonly breakGlass: readonly string[];
}

/** Adds every denial. */
export function guard(bucket: Bucket, { deployRole, breakGlass }: Guardians): void {
  const unless = (...arns: readonly string[]): Conditions => ({ ArnNotEquals: { "aws:PrincipalArn": arns } });
  const others = unless(...breakGlass);
  const statements = [
    // Multipart uploads cannot carry the header from the start, and are refused with it: a chart is a single request.
    ...[["Archives", ARCHIVES] as const, ["Records", RECORDS] as const].map(([what, objects]) =>
      deny(`${what}AreWrittenOnce`, ["s3:PutObject"], bucket.arnForObjects(objects), { Null: { "s3:if-none-match": "true" } }),
    ),
    // Two conditions in one operator must both hold: this is the write that carries neither header.
    deny("IndexIsNeverOverwrittenBlindly", ["s3:PutObject"], bucket.arnForObjects(INDEX), {
      Null: { "s3:if-match": "true", "s3:if-none-match": "true" },
    }),
    deny("IndexIsOnlySwappedByPublishers", ["s3:PutObject"], bucket.arnForObjects(INDEX), {
      Null: { "s3:if-match": "true" },
      ...unless(deployRole, ...breakGlass),
    }),
    // A replica is put without a header that could be asked for, over whatever is there.
    deny("NothingIsReplicatedInto", REPLICATION, bucket.arnForObjects("*"), {}),
    deny("ObjectsStay", ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:UpdateObjectEncryption"], bucket.arnForObjects("*"), others),
    deny("SettingsStay", SETTINGS, bucket.bucketArn, others),
  ];
  statements.forEach((statement) => bucket.addToResourcePolicy(statement));
}

/** What a replication asks of the bucket that it copies into. */
const REPLICATION = ["s3:ObjectOwnerOverrideToBucketOwner", "s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"];

/** Each of these would take one of the guarantees away, or the bucket from those who read it: all that is said of the bucket as a whole. */
const SETTINGS = [
  "s3:DeleteBucket*",
  "s3:PutAccelerateConfiguration",
  "s3:PutBucket*",
  "s3:PutEncryptionConfiguration",
  "s3:PutIntelligentTieringConfiguration",
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
