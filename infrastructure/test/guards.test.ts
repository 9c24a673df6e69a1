// The bucket policy, asked what AWS would ask it: who may do what to which object, whatever else they are allowed.
import { describe, expect, test } from "vitest";

import { evaluate, type Verdict } from "./evaluate.ts";
import { BREAK_GLASS, BUCKET, bucketStatements, DEPLOYER, DISTRIBUTION, PUBLISHER, roleStatements, synthesize } from "./support.ts";

const template = synthesize();
const policy = bucketStatements(template);
/** Somebody with every right that an account can give: what is denied here is denied to all. */
const EVERYTHING = [{ sid: "", effect: "Allow", principal: {}, actions: ["*"], resources: ["*"], conditions: {} }] as const;
const ADMIN = "arn:aws:iam::123456789012:role/Admin";
const PEOPLE = {
  publisher: { arn: PUBLISHER, identity: roleStatements(template, "publish") },
  deployer: { arn: DEPLOYER, identity: roleStatements(template, "deploy") },
  breakGlass: { arn: BREAK_GLASS, identity: EVERYTHING },
  admin: { arn: ADMIN, identity: EVERYTHING },
} as const;

const TGZ = `${BUCKET}/kube9-operator-3.0.0.tgz`;
const RECORD = `${BUCKET}/kube9-operator-3.0.0.json`;
const INDEX = `${BUCKET}/index.yaml`;
const NEW = { "s3:if-none-match": "*" };
const SWAP = { "s3:if-match": '"0123"' };
const PLAIN = {};
const COPY = { "s3:x-amz-copy-source": "elsewhere/kube9-operator-3.0.0.tgz" };

type Person = keyof typeof PEOPLE;
type Row = [what: string, action: string, resource: string, context: Record<string, string>, expected: Record<Person, Verdict>];

const all = (verdict: Verdict) => ({ publisher: verdict, deployer: verdict, breakGlass: verdict, admin: verdict });
const onlyBreakGlass = { publisher: "deny", deployer: "deny", breakGlass: "allow", admin: "deny" } as const;
const guardians = { ...onlyBreakGlass, deployer: "allow" } as const;

/** What a bucket can be told (S3's user guide, "Actions, resources, and condition keys"), but for what only reports. */
const SETTINGS = [
  "s3:DeleteBucket",
  "s3:DeleteBucketPolicy",
  "s3:DeleteBucketWebsite",
  "s3:PutAccelerateConfiguration",
  "s3:PutBucketAcl",
  "s3:PutBucketCORS",
  "s3:PutBucketLogging",
  "s3:PutBucketNotification",
  "s3:PutBucketObjectLockConfiguration",
  "s3:PutBucketOwnershipControls",
  "s3:PutBucketPolicy",
  "s3:PutBucketPublicAccessBlock",
  "s3:PutBucketRequestPayment",
  "s3:PutBucketTagging",
  "s3:PutBucketVersioning",
  "s3:PutBucketWebsite",
  "s3:PutEncryptionConfiguration",
  "s3:PutIntelligentTieringConfiguration",
  "s3:PutLifecycleConfiguration",
  "s3:PutReplicationConfiguration",
];

const ROWS: Row[] = [
  ["a new chart", "s3:PutObject", TGZ, NEW, all("allow")],
  ["a chart without a condition", "s3:PutObject", TGZ, PLAIN, all("deny")],
  ["a chart in place of another", "s3:PutObject", TGZ, SWAP, all("deny")],
  ["a copied chart without a condition", "s3:PutObject", TGZ, COPY, all("deny")],
  ["a copied new chart", "s3:PutObject", TGZ, { ...COPY, ...NEW }, all("allow")],
  ["a new record", "s3:PutObject", RECORD, NEW, all("allow")],
  ["a record without a condition", "s3:PutObject", RECORD, PLAIN, all("deny")],
  ["a record in place of another", "s3:PutObject", RECORD, SWAP, all("deny")],
  ["a swapped index", "s3:PutObject", INDEX, SWAP, all("allow")],
  ["the first index", "s3:PutObject", INDEX, NEW, guardians],
  ["an index without a condition", "s3:PutObject", INDEX, PLAIN, all("deny")],
  ["a copied index without a condition", "s3:PutObject", INDEX, COPY, all("deny")],
  ["a page", "s3:PutObject", `${BUCKET}/index.html`, SWAP, all("allow")],
  ["deleting a page", "s3:DeleteObject", `${BUCKET}/index.html`, {}, onlyBreakGlass],
  ["another object", "s3:PutObject", `${BUCKET}/notes.txt`, PLAIN, { ...all("allow"), publisher: "deny" }],
  ["deleting a chart", "s3:DeleteObject", TGZ, {}, onlyBreakGlass],
  ["deleting a record", "s3:DeleteObject", RECORD, {}, onlyBreakGlass],
  ["deleting a version of a chart", "s3:DeleteObjectVersion", TGZ, {}, onlyBreakGlass],
  ["deleting the index", "s3:DeleteObject", INDEX, {}, onlyBreakGlass],
  ["deleting a version of the index", "s3:DeleteObjectVersion", INDEX, {}, onlyBreakGlass],
  ["a replica of a chart", "s3:ReplicateObject", TGZ, {}, all("deny")],
  ["a replica of the index", "s3:ReplicateObject", INDEX, {}, all("deny")],
  ["a replica's deletion of a chart", "s3:ReplicateDelete", TGZ, {}, all("deny")],
  ["a replica's tags", "s3:ReplicateTags", TGZ, {}, all("deny")],
  ["a replica that changes hands", "s3:ObjectOwnerOverrideToBucketOwner", TGZ, {}, all("deny")],
  ["another key for a chart", "s3:UpdateObjectEncryption", TGZ, {}, onlyBreakGlass],
  ...SETTINGS.map((action): Row => [action.slice("s3:".length), action, BUCKET, {}, onlyBreakGlass]),
  ["reading", "s3:GetObject", TGZ, {}, all("allow")],
  ["listing", "s3:ListBucket", BUCKET, {}, all("allow")],
  ["reading without TLS", "s3:GetObject", TGZ, { "aws:SecureTransport": "false" }, all("deny")],
  ["reading by TLS 1.1", "s3:GetObject", TGZ, { "s3:TlsVersion": "1.1" }, all("deny")],
];

describe.each(ROWS)("%s", (_, action, resource, context, expected) => {
  test.each(Object.entries(expected))("for %s: %s", (person, verdict) => {
    const { arn, identity } = PEOPLE[person as Person];
    expect(evaluate({ action, resource, context, principal: arn }, policy, identity)).toBe(verdict);
  });
});

/** Its own rights say the same today; this holds if they ever say more. */
test.each([...SETTINGS.map((action) => [action, BUCKET] as const), ["s3:DeleteObject", TGZ], ["s3:DeleteObjectVersion", INDEX], ["s3:UpdateObjectEncryption", TGZ]] as const)(
  "the bucket refuses %s to a deploy role with every right, too",
  (action, resource) => expect(evaluate({ action, resource, principal: DEPLOYER }, policy, EVERYTHING)).toBe("deny"),
);

describe("those who are nobody here", () => {
  const actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"].map((action) => [action, INDEX] as const);

  test.each([...actions, ["s3:ListBucket", BUCKET] as const])("a stranger may not %s", (action, resource) => {
    const stranger = { action, resource, context: { ...NEW, ...SWAP } };
    expect(evaluate(stranger, policy)).toBe("deny");
    expect(evaluate({ ...stranger, principal: "arn:aws:iam::999999999999:role/Other" }, policy)).toBe("deny");
  });
});

describe("CloudFront", () => {
  const ask = (action: string, resource: string, source: string) =>
    evaluate({ action, resource, principal: "cloudfront.amazonaws.com", context: { "AWS:SourceArn": source } }, policy);

  test("reads for this distribution, and is told what is missing", () => {
    expect(ask("s3:GetObject", TGZ, DISTRIBUTION)).toBe("allow");
    expect(ask("s3:ListBucket", BUCKET, DISTRIBUTION)).toBe("allow");
  });

  test("does not read for another distribution", () => {
    expect(ask("s3:GetObject", TGZ, `${DISTRIBUTION}X`)).toBe("deny");
    expect(ask("s3:ListBucket", BUCKET, `${DISTRIBUTION}X`)).toBe("deny");
  });

  test("does not write", () => {
    const context = { ...NEW, "AWS:SourceArn": DISTRIBUTION };
    expect(evaluate({ action: "s3:PutObject", resource: TGZ, principal: "cloudfront.amazonaws.com", context }, policy)).toBe("deny");
  });
});

test("nothing is allowed to anybody but CloudFront", () => {
  const allowed = policy.filter((statement) => statement.effect === "Allow");
  expect(allowed.map((statement) => statement.principal)).toEqual([{ Service: ["cloudfront.amazonaws.com"] }]);
});
