// Where charts are kept and served from: a bucket that nobody else can read, the distribution in front of it, and its name.
import { Annotations, Duration, RemovalPolicy } from "aws-cdk-lib";
import { Certificate } from "aws-cdk-lib/aws-certificatemanager";
import {
  AccessLevel,
  AllowedMethods,
  CachePolicy,
  Distribution,
  HeadersFrameOption,
  HeadersReferrerPolicy,
  HttpVersion,
  PriceClass,
  ResponseHeadersPolicy,
  S3OriginAccessControl,
  SecurityPolicyProtocol,
  ViewerProtocolPolicy,
} from "aws-cdk-lib/aws-cloudfront";
import { S3BucketOrigin } from "aws-cdk-lib/aws-cloudfront-origins";
import { AaaaRecord, ARecord, HostedZone, RecordTarget } from "aws-cdk-lib/aws-route53";
import { CloudFrontTarget } from "aws-cdk-lib/aws-route53-targets";
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectOwnership, type BucketProps } from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";

import { FRONT_PAGE, guard, type Guardians } from "./guards.ts";
import type { PriceClassName } from "./inputs.ts";

/** What hosting is told. */
export interface HostingProps {
  /** The host name that charts are served from. */
  readonly domain: string;
  /** The bucket's name. */
  readonly bucketName: string;
  /** A certificate in us-east-1 that covers the domain. */
  readonly certificateArn: string;
  /** The zone that the records go into. */
  readonly hostedZoneId: string;
  /** Those who may do what the bucket refuses to everybody else. */
  readonly guardians: Guardians;
  /** The edge locations. Default: `PriceClass_All`. */
  readonly priceClass?: PriceClassName;
  /** Whether the domain points here. Default: true. */
  readonly dns?: boolean;
  /** Whether access logs are kept, for 90 days. Default: false. */
  readonly accessLogs?: boolean;
  /** Whether CloudFront's paid metrics are on. Default: false. */
  readonly detailedMetrics?: boolean;
}

const PRICE_CLASSES: Record<PriceClassName, PriceClass> = {
  PriceClass_100: PriceClass.PRICE_CLASS_100,
  PriceClass_200: PriceClass.PRICE_CLASS_200,
  PriceClass_All: PriceClass.PRICE_CLASS_ALL,
};

/** Pages need their own style sheet and picture; nothing else that browsers could load, run or send has a business here. */
const POLICY =
  "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** A private bucket needs all of these; those for logs share them. */
export const PRIVATE: BucketProps = {
  blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
  encryption: BucketEncryption.S3_MANAGED,
  enforceSSL: true,
  minimumTLSVersion: 1.2,
  // Charts outlive the stack, but a first deployment that fails must leave nothing in the way of the second.
  removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
};

/** Bucket, distribution and records. */
export class Hosting extends Construct {
  readonly bucket: Bucket;
  readonly distribution: Distribution;
  readonly originAccess: S3OriginAccessControl;
  readonly headers: ResponseHeadersPolicy;

  constructor(scope: Construct, id: string, props: HostingProps) {
    super(scope, id);
    this.bucket = this.chartBucket(props);
    this.originAccess = new S3OriginAccessControl(this, "OriginAccess");
    this.headers = this.securityHeaders(props);
    this.distribution = this.edge(props);
    Annotations.of(this.distribution).acknowledgeWarning(
      "@aws-cdk/aws-cloudfront-origins:listBucketSecurityRisk",
      "there is a default root object, and query strings are not forwarded",
    );
    if (props.dns ?? true) this.pointDomainHere(props);
  }

  private chartBucket(props: HostingProps): Bucket {
    const bucket = new Bucket(this, "Bucket", {
      ...PRIVATE,
      bucketName: props.bucketName,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      versioned: true,
      lifecycleRules: [
        {
          // The index and the front page are written by every release; an archive that has an older version was tampered with, and both
          // should stay.
          id: "OldIndexes",
          prefix: "index.",
          noncurrentVersionExpiration: Duration.days(90),
          noncurrentVersionsToRetain: 100,
        },
      ],
    });
    guard(bucket, props.guardians);
    // The bucket that stays after the stack must not become one that anybody may change.
    bucket.policy?.applyRemovalPolicy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE);
    return bucket;
  }

  private edge(props: HostingProps): Distribution {
    return new Distribution(this, "Distribution", {
      comment: `Helm charts at https://${props.domain}`,
      domainNames: [props.domain],
      certificate: Certificate.fromCertificateArn(this, "Certificate", props.certificateArn),
      minimumProtocolVersion: SecurityPolicyProtocol.TLS_V1_2_2021,
      httpVersion: HttpVersion.HTTP2_AND_3,
      enableIpv6: true,
      priceClass: PRICE_CLASSES[props.priceClass ?? "PriceClass_All"],
      // Who may list (below) would otherwise be shown the bucket's contents at `/`.
      defaultRootObject: FRONT_PAGE,
      defaultBehavior: {
        // Without the right to list, S3 answers 403 for a missing object, and Helm takes that for a broken repository.
        origin: S3BucketOrigin.withOriginAccessControl(this.bucket, {
          originAccessControl: this.originAccess,
          originAccessLevels: [AccessLevel.READ, AccessLevel.LIST],
        }),
        viewerProtocolPolicy: ViewerProtocolPolicy.HTTPS_ONLY,
        allowedMethods: AllowedMethods.ALLOW_GET_HEAD_OPTIONS,
        // It forwards no query string, header or cookie: nothing that a user adds reaches the bucket, or misses the cache.
        cachePolicy: CachePolicy.CACHING_OPTIMIZED,
        compress: true,
        responseHeadersPolicy: this.headers,
      },
      // A verification that asks too early must not make a new chart invisible for long.
      errorResponses: [{ httpStatus: 404, ttl: Duration.seconds(10) }],
      publishAdditionalMetrics: props.detailedMetrics ?? false,
      logBucket: props.accessLogs ? this.logBucket(props) : undefined,
    });
  }

  private securityHeaders(props: HostingProps): ResponseHeadersPolicy {
    return new ResponseHeadersPolicy(this, "Headers", {
      comment: `Security headers of https://${props.domain}`,
      securityHeadersBehavior: {
        // Names below the domain are not ours to bind.
        strictTransportSecurity: { accessControlMaxAge: Duration.days(365), includeSubdomains: false, override: true },
        contentTypeOptions: { override: true },
        // As `serve` says it (`POLICY` in xtask/chart-text/src/page/mod.rs), which a test compares.
        contentSecurityPolicy: { contentSecurityPolicy: POLICY, override: true },
        frameOptions: { frameOption: HeadersFrameOption.DENY, override: true },
        referrerPolicy: { referrerPolicy: HeadersReferrerPolicy.STRICT_ORIGIN_WHEN_CROSS_ORIGIN, override: true },
      },
    });
  }

  private logBucket(props: HostingProps): Bucket {
    return new Bucket(this, "Logs", {
      ...PRIVATE,
      bucketName: `${props.bucketName}-logs`,
      // CloudFront delivers these logs through an ACL.
      objectOwnership: ObjectOwnership.BUCKET_OWNER_PREFERRED,
      lifecycleRules: [{ id: "OldLogs", expiration: Duration.days(90) }],
    });
  }

  private pointDomainHere(props: HostingProps): void {
    // The zone's own name is never asked for: a record's full name says it, and a wrong guess would be appended to it.
    const zone = HostedZone.fromHostedZoneAttributes(this, "Zone", { hostedZoneId: props.hostedZoneId, zoneName: props.domain });
    const target = RecordTarget.fromAlias(new CloudFrontTarget(this.distribution));
    new ARecord(this, "Ipv4", { zone, target });
    new AaaaRecord(this, "Ipv6", { zone, target });
  }
}
