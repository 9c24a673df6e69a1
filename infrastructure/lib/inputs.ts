// What the environment may say, and what is wrong with it. All problems are found in one go: whoever sets up an account
// should not have to run this once for each variable.

/** The region of the stack: CloudFront takes certificates and keeps its metrics nowhere else. */
export const REGION = "us-east-1";

const PRICE_CLASSES = ["PriceClass_100", "PriceClass_200", "PriceClass_All"] as const;

/** The edge locations that serve charts. */
export type PriceClassName = (typeof PRICE_CLASSES)[number];

/** The repository whose workflows may publish and deploy. */
export interface GitHubRepository {
  /** `owner/name`, as tokens spell it. */
  readonly name: string;
  /** The number that stays the same when the repository is renamed, and never comes back when it is deleted. */
  readonly id: string;
  /** An identity provider for GitHub that the account has already. Default: the stack makes one. */
  readonly providerArn?: string;
}

/** Everything that one deployment can be told. */
export interface Inputs {
  /** The name of the stack, from `CHARTS_STACK`. Default: `kube9-operator-charts`. */
  readonly stackName: string;
  /** The host name that charts are served from, from `CHARTS_DOMAIN`. Default: `charts.kube9.io`. */
  readonly domain: string;
  /** The AWS account, from `AWS_ACCOUNT_ID`. Required. */
  readonly account: string;
  /** A certificate in us-east-1 that covers the domain, from `CHARTS_CERTIFICATE_ARN`. Required. */
  readonly certificateArn: string;
  /** The zone that the domain's records go into, from `CHARTS_HOSTED_ZONE_ID`. Required. */
  readonly hostedZoneId: string;
  /**
   * Roles and users that may repair what others may not touch, from `CHARTS_BREAK_GLASS` (ARNs, spaces or commas between).
   * Required: without one, nobody could change the bucket's settings ever again, nor remove what a first deployment that fails leaves.
   */
  readonly breakGlass: readonly string[];
  /**
   * The repository, from `GITHUB_REPOSITORY_ID`, `GITHUB_REPOSITORY` (default: `alto9/kube9-operator`) and
   * `CHARTS_GITHUB_PROVIDER_ARN`. The first two are there in every workflow. Default: no workflow gets in without keys.
   */
  readonly github?: GitHubRepository;
  /** The edge locations, from `CHARTS_PRICE_CLASS`. Default: `PriceClass_All`. */
  readonly priceClass: PriceClassName;
  /** Point the domain here, from `CHARTS_DNS` (`on` or `off`: fill the bucket before users are sent to it). Default: `on`. */
  readonly dns: boolean;
  /** Keep access logs for 90 days, from `CHARTS_ACCESS_LOGS` (`on` or `off`). Default: `off`. */
  readonly accessLogs: boolean;
  /** Pay for CloudFront's cache hit ratio, from `CHARTS_DETAILED_METRICS` (`on` or `off`). Default: `off`. */
  readonly detailedMetrics: boolean;
  /** Who is written to when an alarm goes off, from `CHARTS_ALARM_EMAIL`. Default: nobody. */
  readonly alarmEmail?: string;
  /** A topic that is told as well, from `CHARTS_ALARM_TOPIC_ARN`. Default: none. */
  readonly alarmTopicArn?: string;
}

/** The environment is not one to deploy from. */
export class WrongInputs extends Error {
  constructor(readonly problems: readonly string[]) {
    super(["The infrastructure's inputs are not right:", ...problems.map((problem) => `  - ${problem}`)].join("\n"));
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

interface Shape {
  readonly pattern: RegExp;
  /** What the value must look like, in words that follow "must be". */
  readonly wanted: string;
}

const ACCOUNT: Shape = { pattern: /^\d{12}$/, wanted: "the account's 12 digits" };
const CERTIFICATE: Shape = {
  pattern: new RegExp(`^arn:aws:acm:${REGION}:\\d{12}:certificate/[0-9a-f-]+$`),
  wanted: `the ARN of a certificate in ${REGION} (arn:aws:acm:${REGION}:…:certificate/…)`,
};
const ZONE: Shape = { pattern: /^[0-9A-Z]{8,32}$/, wanted: "the id of a hosted zone (Z0123456789ABC, without /hostedzone/)" };
const STACK: Shape = {
  // Two role names are made from it, and IAM allows 64 characters.
  pattern: /^[a-zA-Z][a-zA-Z0-9-]{0,55}$/,
  wanted: "a stack name of at most 56 letters, digits and hyphens",
};
const DOMAIN: Shape = {
  pattern: /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.){2,}[a-z]{2,63}$/,
  wanted: "a host name below a zone, in small letters (charts.example.com)",
};
const REPOSITORY: Shape = { pattern: /^[A-Za-z0-9-]+\/[A-Za-z0-9._-]+$/, wanted: "owner/name" };
const REPOSITORY_ID: Shape = { pattern: /^[1-9]\d*$/, wanted: "the repository's number (gh api repos/OWNER/NAME --jq .id)" };
const PROVIDER: Shape = {
  pattern: /^arn:aws:iam::\d{12}:oidc-provider\/token\.actions\.githubusercontent\.com$/,
  wanted: "the ARN of the account's identity provider for token.actions.githubusercontent.com",
};
// No wildcard can get in: one `*` would turn every denial of the bucket policy off.
const PRINCIPAL: Shape = {
  pattern: /^arn:aws:iam::\d{12}:(role|user)\/[\w+=.@/-]+$/,
  wanted: "ARNs of IAM roles or users, not of sessions, and without wildcards (arn:aws:iam::…:role/…)",
};
const EMAIL: Shape = { pattern: /^[^\s@]+@[^\s@]+\.[^\s@]+$/, wanted: "an e-mail address" };
const TOPIC: Shape = {
  pattern: new RegExp(`^arn:aws:sns:${REGION}:\\d{12}:[\\w-]+$`),
  wanted: `the ARN of a topic in ${REGION}`,
};
const SWITCH: Shape = { pattern: /^(on|off)$/, wanted: "on or off" };
const PRICE_CLASS: Shape = { pattern: new RegExp(`^(${PRICE_CLASSES.join("|")})$`), wanted: `one of ${PRICE_CLASSES.join(", ")}` };

/** Reads the environment, or throws {@link WrongInputs} with everything that is wrong with it. */
export function readInputs(environment: Environment): Inputs {
  const reader = new Reader(environment);
  const inputs = {
    stackName: reader.optional("CHARTS_STACK", STACK) ?? "kube9-operator-charts",
    domain: reader.optional("CHARTS_DOMAIN", DOMAIN) ?? "charts.kube9.io",
    account: reader.required("AWS_ACCOUNT_ID", ACCOUNT),
    certificateArn: reader.required("CHARTS_CERTIFICATE_ARN", CERTIFICATE),
    hostedZoneId: reader.required("CHARTS_HOSTED_ZONE_ID", ZONE),
    breakGlass: reader.list("CHARTS_BREAK_GLASS", PRINCIPAL),
    priceClass: (reader.optional("CHARTS_PRICE_CLASS", PRICE_CLASS) ?? "PriceClass_All") as PriceClassName,
    dns: reader.optional("CHARTS_DNS", SWITCH) !== "off",
    accessLogs: reader.optional("CHARTS_ACCESS_LOGS", SWITCH) === "on",
    detailedMetrics: reader.optional("CHARTS_DETAILED_METRICS", SWITCH) === "on",
    github: readRepository(reader),
    alarmEmail: reader.optional("CHARTS_ALARM_EMAIL", EMAIL),
    alarmTopicArn: reader.optional("CHARTS_ALARM_TOPIC_ARN", TOPIC),
  };
  reader.sameAccount("CHARTS_CERTIFICATE_ARN", [inputs.certificateArn], inputs.account);
  reader.sameAccount("CHARTS_BREAK_GLASS", inputs.breakGlass, inputs.account);
  reader.sameAccount("CHARTS_GITHUB_PROVIDER_ARN", [inputs.github?.providerArn ?? ""], inputs.account);
  reader.finish();
  return inputs;
}

function readRepository(reader: Reader): GitHubRepository | undefined {
  const id = reader.optional("GITHUB_REPOSITORY_ID", REPOSITORY_ID);
  const name = reader.optional("GITHUB_REPOSITORY", REPOSITORY) ?? "alto9/kube9-operator";
  const providerArn = reader.optional("CHARTS_GITHUB_PROVIDER_ARN", PROVIDER);
  return id === undefined ? undefined : { name, id, providerArn };
}

class Reader {
  private readonly problems: string[] = [];

  constructor(private readonly environment: Environment) {}

  required(name: string, shape: Shape): string {
    const value = this.optional(name, shape);
    if (value === undefined) this.problems.push(`${name} is not set; it must be ${shape.wanted}`);
    return value ?? "";
  }

  optional(name: string, shape: Shape): string | undefined {
    const value = this.environment[name]?.trim();
    // A workflow passes a variable that nobody has set as an empty one.
    if (value === undefined || value === "") return undefined;
    if (!shape.pattern.test(value)) this.refuse(name, value, shape);
    return value;
  }

  list(name: string, shape: Shape): readonly string[] {
    const values = (this.environment[name] ?? "").split(/[\s,]+/).filter((value) => value !== "");
    if (values.length === 0) this.problems.push(`${name} is not set; it must be ${shape.wanted}`);
    values.filter((value) => !shape.pattern.test(value)).forEach((value) => this.refuse(name, value, shape));
    return values;
  }

  sameAccount(name: string, arns: readonly string[], account: string): void {
    for (const arn of arns) {
      const owner = arn.split(":")[4];
      if (owner && ACCOUNT.pattern.test(owner) && ACCOUNT.pattern.test(account) && owner !== account) {
        this.problems.push(`${name} names account ${owner}, but AWS_ACCOUNT_ID is ${account}: ${arn}`);
      }
    }
  }

  finish(): void {
    if (this.problems.length > 0) throw new WrongInputs(this.problems);
  }

  private refuse(name: string, value: string, shape: Shape): void {
    this.problems.push(`${name} is ${JSON.stringify(value)}; it must be ${shape.wanted}`);
  }
}
