// Who may publish charts, and who may change where they are kept: two roles, so that a release that went wrong cannot touch the
// infrastructure, and a deployment needs no key that somebody could lose.
import { RemovalPolicy, Stack } from "aws-cdk-lib";
import {
  AccountRootPrincipal,
  CompositePrincipal,
  Effect,
  FederatedPrincipal,
  OidcProviderNative,
  PolicyDocument,
  PolicyStatement,
  Role,
  WebIdentityPrincipal,
} from "aws-cdk-lib/aws-iam";
import { Construct } from "constructs";

import { ARCHIVES, INDEX, PAGES, RECORDS } from "./guards.ts";
import type { Hosting } from "./hosting.ts";
import type { GitHubRepository } from "./inputs.ts";

/** What the roles are told. */
export interface PublisherProps {
  /** What they work on. */
  readonly hosting: Hosting;
  /** The host name that charts are served from. */
  readonly domain: string;
  /** The zone of the records. */
  readonly hostedZoneId: string;
  /** The certificate that a deployment looks at. */
  readonly certificateArn: string;
  /** Roles and users that may take either role by hand. */
  readonly breakGlass: readonly string[];
  /** The repository whose workflows may take them. Default: none. */
  readonly github?: GitHubRepository;
}

/** What one role is for: these workflow files, in the one environment that they run in, at these refs. */
interface Work {
  readonly files: readonly string[];
  readonly environment: string;
  readonly refs: readonly string[];
  /** Refs that IAM's patterns would let in, too. Default: none. */
  readonly others?: Others;
}

/** In IAM's patterns `*` is any text, slashes included, and in those of GitHub's rulesets it ends at a slash: what these guard is less. */
interface Others {
  /** Never. */
  readonly never: string;
  /** These, unless they are like one of `refs` that has as many slashes. */
  readonly unless: readonly [string, string];
}

const PUBLISH: Work = {
  // Those that the jobs are written in, not `release.yml` that calls them. An image is only pushed for a version that the index allows.
  files: ["release-image.yml", "release-chart.yml"],
  environment: "production",
  // Not `main`: who may push there need not be who may set a version's tag. One of several products has its name before it.
  refs: ["refs/tags/v*", "refs/tags/*/v*"],
  others: { never: "refs/tags/*/*/*", unless: ["refs/tags/*/*", "refs/tags/*/v*"] },
};
const DEPLOY: Work = { files: ["deploy-infrastructure.yml"], environment: "infrastructure", refs: ["refs/heads/main"] };
const ISSUER = "token.actions.githubusercontent.com";

/** The name of the role that may publish: fixed, so that a workflow needs to know no more than the account. */
export const publishRoleName = (stack: string): string => `${stack}-publish`;
/** The name of the role that may deploy: fixed, so that the bucket policy can name it before it exists. */
export const deployRoleName = (stack: string): string => `${stack}-deploy`;

/** Both roles, and GitHub as an identity provider. */
export class Publisher extends Construct {
  readonly publishRole: Role;
  readonly deployRole: Role;
  private readonly stack = Stack.of(this);

  constructor(scope: Construct, id: string, props: PublisherProps) {
    super(scope, id);
    const provider = props.github && (props.github.providerArn ?? this.provider());
    const trust = (work: Work) => trustOf(work, props, provider);
    const refusal = provider && refusalOf(PUBLISH, provider);
    this.publishRole = new Role(this, "Publish", {
      roleName: publishRoleName(this.stack.stackName),
      description: `Publishes charts to https://${props.domain}`,
      assumedBy: trust(PUBLISH),
      inlinePolicies: { Publish: new PolicyDocument({ statements: this.publishing(props.hosting) }) },
    });
    if (refusal) this.publishRole.assumeRolePolicy?.addStatements(refusal);
    this.deployRole = new Role(this, "Deploy", {
      roleName: deployRoleName(this.stack.stackName),
      description: `Deploys the stack behind https://${props.domain}`,
      assumedBy: trust(DEPLOY),
      inlinePolicies: { Deploy: new PolicyDocument({ statements: this.deploying(props) }) },
    });
  }

  private provider(): string {
    const provider = new OidcProviderNative(this, "GitHub", { url: `https://${ISSUER}`, clientIds: ["sts.amazonaws.com"] });
    // An account has one, and others in it may have come to rely on this one.
    provider.applyRemovalPolicy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE);
    return provider.oidcProviderArn;
  }

  private publishing({ bucket, distribution }: Hosting): PolicyStatement[] {
    return [
      allow(["s3:GetObject", "s3:PutObject"], [ARCHIVES, RECORDS, INDEX, ...PAGES].map((objects) => bucket.arnForObjects(objects))),
      // Whoever may not list is told 403 for a missing object, and could not tell a first release from a broken one.
      allow(["s3:ListBucket"], [bucket.bucketArn]),
      allow(["cloudfront:CreateInvalidation", "cloudfront:GetInvalidation"], [distribution.distributionArn]),
      allow(["cloudformation:DescribeStacks"], [this.stackArn()]),
    ];
  }

  private deploying(props: PublisherProps): PolicyStatement[] {
    const { bucket, distribution, headers, originAccess } = props.hosting;
    const { account, region, stackName } = this.stack;
    const zone = `arn:aws:route53:::hostedzone/${props.hostedZoneId}`;
    const cloudfront = (kind: string, id: string) => `arn:aws:cloudfront::${account}:${kind}/${id}`;
    return [
      allow(CLOUDFORMATION, [this.stackArn()]),
      allow(["cloudformation:GetTemplateSummary", "cloudformation:ValidateTemplate"], ["*"]),
      allow(BUCKET, [bucket.bucketArn, `${bucket.bucketArn}-logs`]),
      // CloudFront writes access logs by an ACL, which it sets with the rights of whoever turns them on.
      allow(["s3:PutBucketAcl"], [`${bucket.bucketArn}-logs`]),
      allow(OBJECTS, [bucket.arnForObjects("*")]),
      allow(DISTRIBUTION, [distribution.distributionArn]),
      allow(["cloudfront:GetOriginAccessControl", "cloudfront:UpdateOriginAccessControl"], [
        cloudfront("origin-access-control", originAccess.originAccessControlId),
      ]),
      allow(["cloudfront:GetResponseHeadersPolicy", "cloudfront:UpdateResponseHeadersPolicy"], [
        cloudfront("response-headers-policy", headers.responseHeadersPolicyId),
      ]),
      allow(["route53:GetHostedZone", "route53:ListResourceRecordSets"], [zone]),
      this.changingRecords(zone, props.domain),
      allow(["route53:GetChange"], ["arn:aws:route53:::change/*"]),
      allow(["acm:DescribeCertificate"], [props.certificateArn]),
      allow(CLOUDWATCH, [
        `arn:aws:cloudwatch:${region}:${account}:alarm:${stackName}-*`,
        `arn:aws:cloudwatch::${account}:dashboard/${stackName}`,
      ]),
      allow(TOPIC, [`arn:aws:sns:${region}:${account}:${stackName}-*`]),
      // It may look at roles and not change them: what a workflow may do is decided by a person, with a break-glass principal.
      allow(IDENTITY, [
        `arn:aws:iam::${account}:role/${stackName}-*`,
        `arn:aws:iam::${account}:oidc-provider/${ISSUER}`,
      ]),
    ];
  }

  /**
   * Of the zone's records, those of the domain alone. All that Route 53 can be asked is allowed for these: a deployment that fails half way
   * takes back what it made, and whoever deploys refuses to remove a record (`xtask-remote/src/deploy/change.rs`).
   */
  private changingRecords(zone: string, domain: string): PolicyStatement {
    const [names, types] = ["route53:ChangeResourceRecordSetsNormalizedRecordNames", "route53:ChangeResourceRecordSetsRecordTypes"];
    const statement = allow(["route53:ChangeResourceRecordSets"], [zone]);
    // "All of none" is true: a request that does not say which records it changes must not pass.
    statement.addConditions({
      "ForAllValues:StringEquals": { [names]: [domain], [types]: ["A", "AAAA"] },
      Null: { [names]: "false", [types]: "false" },
    });
    return statement;
  }

  private stackArn(): string {
    return `arn:aws:cloudformation:${this.stack.region}:${this.stack.account}:stack/${this.stack.stackName}/*`;
  }
}

/** Making and deleting the stack are not among them: that takes rights on roles, which are no workflow's. */
const CLOUDFORMATION = [
  "cloudformation:CancelUpdateStack",
  "cloudformation:ContinueUpdateRollback",
  "cloudformation:CreateChangeSet",
  "cloudformation:DeleteChangeSet",
  "cloudformation:DescribeChangeSet",
  "cloudformation:DescribeEvents",
  "cloudformation:DescribeStackEvents",
  "cloudformation:DescribeStackResource",
  "cloudformation:DescribeStackResources",
  "cloudformation:DescribeStacks",
  "cloudformation:ExecuteChangeSet",
  "cloudformation:GetTemplate",
  "cloudformation:ListStackResources",
  "cloudformation:RollbackStack",
  "cloudformation:UpdateStack",
];

/** It may look at what is set, and change none of it: the bucket refuses that to everybody but break-glass principals. */
const BUCKET = [
  "s3:GetAccelerateConfiguration",
  "s3:GetAnalyticsConfiguration",
  "s3:GetBucket*",
  "s3:GetEncryptionConfiguration",
  "s3:GetIntelligentTieringConfiguration",
  "s3:GetInventoryConfiguration",
  "s3:GetLifecycleConfiguration",
  "s3:GetMetricsConfiguration",
  "s3:GetReplicationConfiguration",
  "s3:ListBucket",
  "s3:ListBucketVersions",
];

/** The first index, charts that are taken over from elsewhere, and what an undo reads. It needs no right to delete. */
const OBJECTS = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"];

/**
 * The one distribution. Making one is not among them, nor turning paid metrics on or off, which knows no narrower resource than all
 * distributions of the account: both are done from a laptop, with a break-glass principal.
 */
const DISTRIBUTION = [
  "cloudfront:CreateInvalidation",
  "cloudfront:GetDistribution",
  "cloudfront:GetDistributionConfig",
  "cloudfront:GetInvalidation",
  "cloudfront:ListTagsForResource",
  "cloudfront:TagResource",
  "cloudfront:UntagResource",
  "cloudfront:UpdateDistribution",
];

const CLOUDWATCH = [
  "cloudwatch:DeleteAlarms",
  "cloudwatch:DeleteDashboards",
  "cloudwatch:DescribeAlarms",
  "cloudwatch:GetDashboard",
  "cloudwatch:ListTagsForResource",
  "cloudwatch:PutDashboard",
  "cloudwatch:PutMetricAlarm",
  "cloudwatch:TagResource",
  "cloudwatch:UntagResource",
];

const TOPIC = [
  "sns:CreateTopic",
  "sns:DeleteTopic",
  "sns:GetDataProtectionPolicy",
  "sns:GetSubscriptionAttributes",
  "sns:GetTopicAttributes",
  "sns:ListSubscriptionsByTopic",
  "sns:ListTagsForResource",
  "sns:SetTopicAttributes",
  "sns:Subscribe",
  "sns:TagResource",
  "sns:Unsubscribe",
];

const IDENTITY = [
  "iam:GetOpenIDConnectProvider",
  "iam:GetRole",
  "iam:GetRolePolicy",
  "iam:ListAttachedRolePolicies",
  "iam:ListRolePolicies",
  "iam:ListRoleTags",
];

function allow(actions: readonly string[], resources: readonly string[]): PolicyStatement {
  return new PolicyStatement({ actions: [...actions], resources: [...resources] });
}

function trustOf(work: Work, props: PublisherProps, provider: string | undefined): CompositePrincipal {
  const trusted = new CompositePrincipal(people(props.breakGlass));
  return props.github && provider ? trusted.addPrincipals(workflowPrincipal(work, props.github, provider)) : trusted;
}

/** A principal that a trust policy names must exist, or the role cannot be made; a condition may name one that is gone. */
function people(breakGlass: readonly string[]) {
  return new AccountRootPrincipal().withConditions({ ArnEquals: { "aws:PrincipalArn": breakGlass } });
}

/**
 * GitHub's claims that AWS compares, beside `sub` and `aud` (IAM's user guide, "Available keys for AWS web identity federation"): `actor`,
 * `actor_id`, `enterprise_id`, `environment`, `job_workflow_ref`, `ref`, `repository`, `repository_id` and `workflow`. A condition on another
 * one, such as `ref_type`, would never hold.
 */
function workflowPrincipal(work: Work, repository: GitHubRepository, provider: string) {
  return new WebIdentityPrincipal(provider, {
    StringEquals: {
      [`${ISSUER}:aud`]: "sts.amazonaws.com",
      [`${ISSUER}:repository_id`]: repository.id,
      [`${ISSUER}:environment`]: work.environment,
    },
    StringLike: {
      [`${ISSUER}:sub`]: subjects(repository, work.environment),
      [`${ISSUER}:job_workflow_ref`]: work.files.flatMap((file) =>
        work.refs.map((ref) => `${repository.name}/.github/workflows/${file}@${ref}`),
      ),
      // The run's own ref: that of the workflow says where its file is from.
      [`${ISSUER}:ref`]: [...work.refs],
    },
    ...(work.others && { StringNotLike: { [`${ISSUER}:ref`]: [work.others.never] } }),
  });
}

/** A second statement, since conditions on one claim are joined by "and". */
function refusalOf(work: Work, provider: string): PolicyStatement | undefined {
  return (
    work.others &&
    new PolicyStatement({
      effect: Effect.DENY,
      principals: [new FederatedPrincipal(provider)],
      actions: ["sts:AssumeRoleWithWebIdentity"],
      conditions: {
        StringLike: { [`${ISSUER}:ref`]: [work.others.unless[0]] },
        StringNotLike: { [`${ISSUER}:ref`]: [work.others.unless[1]] },
      },
    })
  );
}

/** Repositories made, renamed or moved since July 2026 have numbers in theirs. No name can hold an `@`, so this widens nothing. */
function subjects(repository: GitHubRepository, environment: string): string[] {
  return [
    `repo:${repository.name}:environment:${environment}`,
    `repo:${repository.name.replace("/", "@*/")}@${repository.id}:environment:${environment}`,
  ];
}
