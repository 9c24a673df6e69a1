// Who gets a role, and what it can do: both lists are complete, so that a right that is added here has to be added twice.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import { evaluate, like, type Request } from "./evaluate.ts";
import {
  ACCOUNT,
  BREAK_GLASS,
  BUCKET,
  bucketStatements,
  DEPLOYER,
  DISTRIBUTION,
  only,
  PROVIDER,
  PUBLISHER,
  REQUIRED,
  role,
  roleStatements,
  type Statement,
  statements,
  synthesize,
  USUAL,
} from "./support.ts";

const template = synthesize();
const ISSUER = "token.actions.githubusercontent.com";
const WEB = "sts:AssumeRoleWithWebIdentity";
const trust = (name: string, from = template) => statements(role(from, name).AssumeRolePolicyDocument);

/** A token as GitHub issues it; a called workflow is at the ref of the run. */
function token(workflow: string, environment: string, changes: Record<string, string> = {}): Record<string, string> {
  const claims = {
    aud: "sts.amazonaws.com",
    sub: `repo:alto9/kube9-operator:environment:${environment}`,
    repository_id: USUAL.GITHUB_REPOSITORY_ID,
    environment,
    job_workflow_ref: `alto9/kube9-operator/.github/workflows/${workflow}`,
    ref: workflow.split("@")[1]!,
    ...changes,
  };
  return Object.fromEntries(Object.entries(claims).map(([claim, value]) => [`${ISSUER}:${claim}`, value]));
}

/** Trust policies have no resource and name their principals themselves; the evaluator is asked about their conditions. */
function admits(name: string, claims: Record<string, string>): boolean {
  const open = trust(name).filter((statement) => statement.actions.includes(WEB));
  return evaluate({ action: WEB, resource: "*", context: claims }, [], open) === "allow";
}

describe.each([
  ["publish", "production", ["release-chart.yml@refs/tags/v3.0.0", "release-image.yml@refs/tags/v3.0.0", "release-chart.yml@refs/tags/web/v3.0.0"]],
  ["deploy", "infrastructure", ["deploy-infrastructure.yml@refs/heads/main"]],
])("the role %s", (name, environment, workflows) => {
  test("is taken by its workflows, in both forms of the subject", () => {
    for (const workflow of workflows) {
      expect(admits(name, token(workflow, environment))).toBe(true);
      const numbered = `repo:alto9@11/kube9-operator@987654321:environment:${environment}`;
      expect(admits(name, token(workflow, environment, { sub: numbered }))).toBe(true);
    }
  });

  test.each([
    ["another repository of that name", { repository_id: "1" }],
    ["another environment", { environment: "staging" }],
    ["a subject without an environment", { sub: "repo:alto9/kube9-operator:ref:refs/heads/main" }],
    ["another repository's subject", { sub: "repo:mallory/kube9-operator:environment:production" }],
    ["another repository's numbered subject", { sub: `repo:alto9@11/kube9-operator@1:environment:${environment}` }],
    ["a run at another ref than its workflow's", { ref: "refs/heads/topic" }],
    ["a pull request", { job_workflow_ref: `alto9/kube9-operator/.github/workflows/${workflows[0]!.split("@")[0]}@refs/pull/1/merge` }],
    ["a branch", { job_workflow_ref: `alto9/kube9-operator/.github/workflows/${workflows[0]!.split("@")[0]}@refs/heads/topic` }],
    ["another workflow", { job_workflow_ref: "alto9/kube9-operator/.github/workflows/ci.yml@refs/heads/main" }],
    ["another audience", { aud: "https://github.com/alto9" }],
  ])("is not taken by %s", (_, changes: Record<string, string>) => {
    expect(admits(name, token(workflows[0]!, environment, changes))).toBe(false);
  });

  test("is not taken at the other role's ref", () => {
    const [file, ref] = workflows[0]!.split("@");
    const other = ref === "refs/heads/main" ? "refs/tags/v3.0.0" : "refs/heads/main";
    expect(admits(name, token(`${file}@${other}`, environment))).toBe(false);
    expect(admits(name, token(workflows[0]!, environment, { ref: other }))).toBe(false);
  });

  test("compares only what AWS knows of GitHub's claims", () => {
    const known = ["aud", "environment", "job_workflow_ref", "ref", "repository_id", "sub"];
    const keys = trust(name).flatMap(({ conditions }) => Object.values(conditions).flatMap((condition) => Object.keys(condition)));
    expect([...new Set(keys)].filter((key) => key !== "aws:PrincipalArn").sort()).toEqual(known.map((claim) => `${ISSUER}:${claim}`));
  });

  test("is not taken by a token that lacks a claim", () => {
    const whole = token(workflows[0]!, environment);
    for (const claim of Object.keys(whole)) {
      expect(admits(name, Object.fromEntries(Object.entries(whole).filter(([key]) => key !== claim)))).toBe(false);
    }
  });

  test("is asked for by the workflows that it is for, in their environment", () => {
    for (const file of new Set(workflows.map((workflow) => workflow.split("@")[0]!))) {
      const text = readFileSync(new URL(`../../.github/workflows/${file}`, import.meta.url), "utf8");
      expect(text).toContain(`environment: ${environment}\n`);
      expect(text).toContain(`:role/kube9-operator-charts-${name}\n`);
    }
  });

  test("is taken at the refs that its environment lets deploy, and no others", () => {
    const text = readFileSync(new URL(`../../.github/environments/${environment}.json`, import.meta.url), "utf8");
    const refs = JSON.parse(text).refs.map((ref: Record<string, string>) => `refs/${ref["type"] === "tag" ? "tags" : "heads"}/${ref["name"]}`);
    const trusted = trust(name).filter(({ effect }) => effect === "Allow").flatMap(({ conditions }) => conditions["StringLike"]?.[`${ISSUER}:ref`] as string[] | undefined).filter(Boolean);
    expect(refs).toEqual(trusted);
  });

  test("is taken by hand only by those who may break the glass", () => {
    expect(trust(name).filter((statement) => statement.actions.includes("sts:AssumeRole"))).toMatchObject([
      { principal: { AWS: [`arn:aws:iam::${ACCOUNT}:root`] }, conditions: { ArnEquals: { "aws:PrincipalArn": [BREAK_GLASS] } } },
    ]);
  });

  test("is taken by no workflow where no repository is said", () => {
    expect(trust(name, synthesize(REQUIRED)).map(({ actions }) => actions)).toEqual([["sts:AssumeRole"]]);
  });
});

// GitHub's rulesets guard `v*` and `*/v*`, and their `*` ends at a slash; IAM's does not.
test("the role publish is taken at tags of both forms, and at none that no ruleset guards", () => {
  const at = (tag: string) => admits("publish", token(`release-chart.yml@refs/tags/${tag}`, "production"));
  const own = (tag: string) => admits("publish", token("release-chart.yml@refs/tags/v3.0.0", "production", { ref: `refs/tags/${tag}` }));
  expect(["v3.0.0", "web/v3.0.0", "vault/v3.0.0"].filter((tag) => !at(tag))).toEqual([]);
  const unguarded = ["a/b/v1.0.0", "v1/x", "v1.0.0/x", "web/v1.0.0/x", "v/x/v1.0.0", "web/x"];
  expect(unguarded.filter(at)).toEqual([]);
  expect(unguarded.filter(own)).toEqual([]);
});

test.each(["publish", "deploy"])("the trust of the role %s leaves room for three more who may break the glass", (name) => {
  // IAM and AWS STS quotas: "Role trust policy length", without white space.
  expect(JSON.stringify(role(template, name).AssumeRolePolicyDocument).length + 3 * (BREAK_GLASS.length + 3)).toBeLessThan(2048);
});

describe("the identity provider", () => {
  test("is made once, and stays", () => {
    const provider = only(template, "AWS::IAM::OIDCProvider");
    expect(provider.Properties).toEqual({ Url: `https://${ISSUER}`, ClientIdList: ["sts.amazonaws.com"] });
    expect(provider.DeletionPolicy).toBe("RetainExceptOnCreate");
  });

  test("is not made where the account has one", () => {
    const importing = synthesize({ ...USUAL, CHARTS_GITHUB_PROVIDER_ARN: PROVIDER });
    importing.resourceCountIs("AWS::IAM::OIDCProvider", 0);
    expect(trust("publish", importing)[1]!.principal).toEqual({ Federated: [PROVIDER] });
  });
});

test("the publish role can do exactly this", () => {
  const rights = roleStatements(template, "publish").map(({ actions, resources }) => [actions, resources]);
  expect(rights).toEqual([
    [["s3:GetObject", "s3:PutObject"], ["*.tgz", "*.json", "index.yaml", "*.html", "page.css", "*icon.png", "*icon.svg", "artifacthub-repo.yml"].map((name) => `${BUCKET}/${name}`)],
    [["s3:ListBucket"], [BUCKET]],
    [["cloudfront:CreateInvalidation", "cloudfront:GetInvalidation"], [DISTRIBUTION]],
    [["cloudformation:DescribeStacks"], [`arn:aws:cloudformation:us-east-1:${ACCOUNT}:stack/kube9-operator-charts/*`]],
  ]);
});

describe("the deploy role", () => {
  const rights = roleStatements(template, "deploy");
  const actions = rights.flatMap((statement) => statement.actions);

  test("cannot give rights to itself or to others", () => {
    const writing = actions.filter((action) => action.startsWith("iam:") && !/^iam:(Get|List)/.test(action));
    expect(writing).toEqual([]);
    expect(actions.filter((action) => action.startsWith("sts:"))).toEqual([]);
  });

  test("cannot delete the stack, the bucket, its objects, the distribution or the records' zone", () => {
    const deleting = actions.filter((action) => action.includes("Delete"));
    expect(deleting.sort()).toEqual([
      "cloudformation:DeleteChangeSet",
      "cloudwatch:DeleteAlarms",
      "cloudwatch:DeleteDashboards",
      "sns:DeleteTopic",
    ]);
  });

  test("sets nothing of a bucket but who may read logs, and cannot take the stack's protection away", () => {
    const setting = actions.filter((action) => /^s3:(?!Get|List)/.test(action));
    expect(setting).toEqual(["s3:PutBucketAcl", "s3:PutObject"]);
    expect(rights.find((right) => right.actions.includes("s3:PutBucketAcl"))!.resources).toEqual([`${BUCKET}-logs`]);
    expect(actions).not.toContain("cloudformation:UpdateTerminationProtection");
  });

  test("changes one distribution, and what belongs to it", () => {
    const changing = rights.filter((right) => right.actions.some((action) => action.startsWith("cloudfront:Update")));
    const ours = [DISTRIBUTION, ...["origin-access-control/E0AAAAAAAAAAAA", "response-headers-policy/our-headers"]];
    const arn = (one: string) => (one.startsWith("arn:") ? one : `arn:aws:cloudfront::${ACCOUNT}:${one}`);
    expect(changing.flatMap((right) => right.resources)).toEqual(ours.map(arn));
  });

  const NAMES = "route53:ChangeResourceRecordSetsNormalizedRecordNames";
  const TYPES = "route53:ChangeResourceRecordSetsRecordTypes";
  const change = (context: Record<string, readonly string[]>, zone = "Z0123456789ABC") =>
    evaluate({ action: "route53:ChangeResourceRecordSets", resource: `arn:aws:route53:::hostedzone/${zone}`, context }, [], rights);

  test("changes the domain's own records", () => {
    expect(change({ [NAMES]: ["charts.kube9.io"], [TYPES]: ["A", "AAAA"] })).toBe("allow");
  });

  test.each([
    ["another name", { [NAMES]: ["www.kube9.io"], [TYPES]: ["A"] }],
    ["the zone's own name", { [NAMES]: ["kube9.io"], [TYPES]: ["A"] }],
    ["another name beside the domain", { [NAMES]: ["charts.kube9.io", "www.kube9.io"], [TYPES]: ["A"] }],
    ["a record of another type", { [NAMES]: ["charts.kube9.io"], [TYPES]: ["A", "TXT"] }],
    ["records that are not told", {}],
  ])("does not change %s", (_, context: Record<string, readonly string[]>) => expect(change(context)).toBe("deny"));

  test("does not change another zone", () => {
    expect(change({ [NAMES]: ["charts.kube9.io"], [TYPES]: ["A"] }, "Z0000000000000")).toBe("deny");
  });

  test("has no right that is not bound to what is ours, but two that read nothing", () => {
    const unbound = rights.filter((statement) => statement.resources.includes("*")).flatMap((statement) => statement.actions);
    expect(unbound).toEqual(["cloudformation:GetTemplateSummary", "cloudformation:ValidateTemplate"]);
    expect(actions.filter((action) => /^[a-z0-9]+:\*$|^\*$/.test(action))).toEqual([]);
  });
});

/** What workflows asked of AWS when the tests of xtask ran them; these keep the lists. */
interface Calls {
  /** What the tokens said by which the role was taken. */
  readonly taken: readonly Record<string, string>[];
  readonly needed: readonly Request[];
  /** What a tool asks and can do without. */
  readonly refused?: readonly Request[];
}

/** Rights that no run of a workflow needed, each for a reason. */
const RESERVED: Record<string, readonly (readonly [RegExp, string])[]> = {
  publish: [
    [/^s3:(Get|Put)Object$/, "the page's picture, where the chart has one"],
  ],
  deploy: [
    [/^(cloudwatch|iam|sns):/, "CloudFormation looks at and changes these for the role, when the template's part does"],
    [/^cloudfront:(Get(?!Inv)|List|Tag|Untag|Update)/, "the same"],
    [/^route53:(ChangeResourceRecordSets|GetChange|ListResourceRecordSets)$/, "the same"],
    [/^s3:(Get(?!Object)|ListBucketVersions|PutBucketAcl)/, "the same"],
    [/^s3:PutObject$/, "deploy-infra puts the first index, and charts that are adopted"],
    [/^cloudfront:(Create|Get)Invalidation$/, "after charts were adopted, caches are told"],
    [/^s3:ListBucket$/, "deploy-infra looks whether a bucket of access logs would be in the way"],
    [/^s3:GetObjectVersion$/, "an index is put back by hand"],
    [/^cloudformation:ContinueUpdateRollback$/, "deploy-infra resumes the way back of an update that failed"],
    [/^cloudformation:(CancelUpdateStack|RollbackStack)$/, "an update is called off by hand"],
    [/^cloudformation:(Create|Delete|Describe|Execute)ChangeSet$/, "a change is looked at by hand, and a bucket imported"],
    [/^cloudformation:(DescribeEvents|DescribeStackResources?|GetTemplateSummary|ListStackResources|ValidateTemplate)$/, "other versions of the CDK CLI"],
  ],
};

describe.each([
  ["publish", PUBLISHER],
  ["deploy", DEPLOYER],
])("what workflows ask for in the role %s", (name, principal) => {
  const calls = JSON.parse(readFileSync(new URL(`../../docs/iam/${name}-calls.json`, import.meta.url), "utf8")) as Calls;
  const rights = roleStatements(template, name);
  const isAllowed = (call: Request, given: readonly Statement[]) => evaluate({ ...call, principal }, bucketStatements(template), given) === "allow";
  const refused = (given: readonly Statement[]) => calls.needed.filter((call) => !isAllowed(call, given));
  /** The same rights without one action on one resource. */
  const without = (action: string, resource: string) =>
    rights.flatMap((right) => [
      { ...right, actions: right.actions.filter((one) => one !== action) },
      { ...right, actions: right.actions.filter((one) => one === action), resources: right.resources.filter((one) => one !== resource) },
    ]);

  test("is allowed", () => {
    expect(calls.needed.length).toBeGreaterThan(5);
    expect(refused(rights)).toEqual([]);
  });

  test("is no less than it may, but for what is kept for a reason", () => {
    const pairs = rights.flatMap(({ actions, resources }) => actions.flatMap((action) => resources.map((resource) => [action, resource] as const)));
    const idle = pairs.filter(([action, resource]) => refused(without(action, resource)).length === 0).map(([action]) => action);
    const reserved = RESERVED[name]!;
    expect(idle.filter((action) => !reserved.some(([pattern]) => pattern.test(action)))).toEqual([]);
    expect(reserved.filter(([pattern]) => !idle.some((action) => pattern.test(action)))).toEqual([]);
  });

  test("is not more, where a tool can do without", () => {
    expect((calls.refused ?? []).filter((call) => isAllowed(call, rights))).toEqual([]);
  });

  test("is asked by tokens that are admitted, of every workflow that is", () => {
    const claims = calls.taken.map((taken) => Object.fromEntries(Object.entries(taken).map(([claim, value]) => [`${ISSUER}:${claim}`, value])));
    expect(claims.filter((one) => !admits(name, one))).toEqual([]);
    const open = trust(name).filter(({ actions, effect }) => actions.includes(WEB) && effect === "Allow");
    const trusted = open.flatMap((statement) => statement.conditions["StringLike"]![`${ISSUER}:job_workflow_ref`] as string[]);
    // The tag of one of several products has its name before it, and orders the same jobs.
    const refs = calls.taken.map((taken) => taken["job_workflow_ref"]!).flatMap((ref) => [ref, ref.replace("@refs/tags/", "@refs/tags/web/")]);
    expect(trusted.filter((pattern) => !refs.some((ref) => like(pattern, ref)))).toEqual([]);
  });
});

// What people read, and give to a user of their own, is what the template says.
test.each(["publish", "deploy"])("the policies of the role %s are those in docs/iam", async (name) => {
  const { AssumeRolePolicyDocument: trusted, Policies: policies } = role(template, name);
  expect(policies).toHaveLength(1);
  const written = (document: unknown) => `${JSON.stringify(document, undefined, 2)}\n`;
  await expect(written(policies[0].PolicyDocument)).toMatchFileSnapshot(`../../docs/iam/${name}.json`);
  await expect(written(trusted)).toMatchFileSnapshot(`../../docs/iam/${name}-trust.json`);
});
