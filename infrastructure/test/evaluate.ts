// Whether AWS would allow a request, by the rules that it documents for one account: a denial anywhere wins, and some policy must
// allow. It knows only what our policies use, and refuses the rest rather than guess.
import type { Statement } from "./support.ts";

export interface Request {
  readonly action: string;
  readonly resource: string;
  /** The ARN of a role or user, or a service; nothing for somebody without credentials. */
  readonly principal?: string;
  /** Condition keys and their values, but those that follow from the principal and from TLS. */
  readonly context?: Record<string, string | readonly string[]>;
}

export type Verdict = "allow" | "deny";

type Value = string | readonly string[] | undefined;
type Values = Record<string, Value>;

export function evaluate(request: Request, bucketPolicy: readonly Statement[], identityPolicy: readonly Statement[] = []): Verdict {
  const values = contextOf(request);
  const matching = [...bucketPolicy.filter((statement) => isFor(statement, request.principal)), ...identityPolicy].filter(
    (statement) => covers(statement, request) && holds(statement.conditions, values),
  );
  if (matching.some((statement) => statement.effect === "Deny")) return "deny";
  return matching.some((statement) => statement.effect === "Allow") ? "allow" : "deny";
}

function contextOf({ principal, context }: Request): Values {
  const arn = principal?.startsWith("arn:") ? { "aws:PrincipalArn": principal } : {};
  const tls = { "aws:SecureTransport": "true", "s3:TlsVersion": "1.3" };
  return Object.fromEntries(Object.entries({ ...tls, ...arn, ...context }).map(([key, value]) => [key.toLowerCase(), value]));
}

function isFor({ principal }: Statement, who: string | undefined): boolean {
  return (principal["AWS"] ?? []).some((name) => name === "*" || name === who) || (principal["Service"] ?? []).some((name) => name === who);
}

function covers({ actions, resources }: Statement, { action, resource }: Request): boolean {
  return actions.some((pattern) => like(pattern, action)) && resources.some((pattern) => like(pattern, resource));
}

/** Conditions are joined by "and", the values of one by "or" (by "and" where it is negated). */
function holds(conditions: Statement["conditions"], values: Values): boolean {
  return Object.entries(conditions).every(([operator, keys]) =>
    Object.entries(keys).every(([key, wanted]) => holdsOne(operator, [wanted].flat().map(String), values[key.toLowerCase()])),
  );
}

function holdsOne(operator: string, wanted: readonly string[], value: Value): boolean {
  if (operator === "Null") return wanted[0] === String(value === undefined);
  // All of none are in any list.
  if (operator === "ForAllValues:StringEquals") return [value ?? []].flat().every((one) => wanted.includes(one));
  if (typeof value === "object") throw new Error(`the evaluator does not know ${operator} of several values`);
  switch (operator) {
    case "Bool":
    case "StringEquals":
    case "ArnEquals":
      return value !== undefined && wanted.includes(value);
    case "StringLike":
      return value !== undefined && wanted.some((pattern) => like(pattern, value));
    case "StringNotLike":
      return value === undefined || !wanted.some((pattern) => like(pattern, value));
    // A value that is not there is not equal: who has no ARN is not among those who may.
    case "ArnNotEquals":
      return value === undefined || !wanted.includes(value);
    case "NumericLessThan":
      return value !== undefined && Number(value) < Number(wanted[0]);
    default:
      throw new Error(`the evaluator does not know the operator ${operator}`);
  }
}

export function like(pattern: string, value: string): boolean {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
  return new RegExp(`^${escaped}$`).test(value);
}
