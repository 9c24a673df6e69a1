// The rows of the specification that are about the bucket, the distribution and its name.
import { Template } from "aws-cdk-lib/assertions";
import { describe, expect, test } from "vitest";

import { chartBucket, chartPolicy, distribution, only, REQUIRED, synthesize, USUAL } from "./support.ts";

const template = synthesize();

describe("the bucket", () => {
  const bucket = chartBucket(template);

  test("is private", () => {
    expect(bucket.Properties.PublicAccessBlockConfiguration).toEqual({
      BlockPublicAcls: true,
      BlockPublicPolicy: true,
      IgnorePublicAcls: true,
      RestrictPublicBuckets: true,
    });
    expect(bucket.Properties.OwnershipControls).toEqual({ Rules: [{ ObjectOwnership: "BucketOwnerEnforced" }] });
    expect(bucket.Properties).not.toHaveProperty("AccessControl");
    expect(bucket.Properties).not.toHaveProperty("WebsiteConfiguration");
  });

  test("encrypts with keys of S3", () => {
    const rules = bucket.Properties.BucketEncryption.ServerSideEncryptionConfiguration;
    expect(rules).toEqual([{ ServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" } }]);
  });

  test("keeps every version, of all but old indexes and front pages", () => {
    expect(bucket.Properties.VersioningConfiguration).toEqual({ Status: "Enabled" });
    expect(bucket.Properties.LifecycleConfiguration.Rules).toEqual([
      {
        Id: "OldIndexes",
        Prefix: "index.",
        Status: "Enabled",
        NoncurrentVersionExpiration: { NoncurrentDays: 90, NewerNoncurrentVersions: 100 },
      },
    ]);
  });

  test.each([
    ["bucket", bucket],
    ["policy", chartPolicy(template)],
  ])("its %s stays when the stack goes, but not when it is never finished", (_, resource) => {
    expect(resource.DeletionPolicy).toBe("RetainExceptOnCreate");
    expect(resource.UpdateReplacePolicy).toBe("Retain");
  });
});

describe("the distribution", () => {
  const config = distribution(template);
  const behavior = config.DefaultCacheBehavior;

  test("answers for the domain, by TLS 1.2 or newer", () => {
    expect(config.Aliases).toEqual(["charts.kube9.io"]);
    expect(config.ViewerCertificate).toEqual({
      AcmCertificateArn: REQUIRED.CHARTS_CERTIFICATE_ARN,
      MinimumProtocolVersion: "TLSv1.2_2021",
      SslSupportMethod: "sni-only",
    });
    expect(behavior.ViewerProtocolPolicy).toBe("https-only");
    expect(config.Enabled).toBe(true);
  });

  test("H13: speaks HTTP/2 and 3, by IPv4 and IPv6, from every edge location", () => {
    expect(config).toMatchObject({ HttpVersion: "http2and3", IPV6Enabled: true, PriceClass: "PriceClass_All" });
  });

  test("H13: takes GET, HEAD and OPTIONS, and forwards nothing that a user adds", () => {
    expect(behavior.AllowedMethods).toEqual(["GET", "HEAD", "OPTIONS"]);
    // The managed policy "CachingOptimized": https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
    expect(behavior.CachePolicyId).toBe("658327ea-f89d-4fab-a63d-7e88639e58f6");
    expect(behavior.Compress).toBe(true);
    for (const forwarding of ["OriginRequestPolicyId", "ForwardedValues"]) expect(behavior).not.toHaveProperty(forwarding);
    expect(config).not.toHaveProperty("CacheBehaviors");
  });

  test("H11: has a true 404 for what is missing, remembered for 10 seconds, and leaves 403 alone", () => {
    expect(config.CustomErrorResponses).toEqual([{ ErrorCode: 404, ErrorCachingMinTTL: 10 }]);
    expect(config.DefaultRootObject).toBe("index.html");
  });

  test("reads the bucket by origin access control", () => {
    expect(config.Origins).toHaveLength(1);
    expect(config.Origins[0]).toMatchObject({
      DomainName: "kube9-charts-123456789012.s3.us-east-1.amazonaws.com",
      OriginAccessControlId: "E0AAAAAAAAAAAA",
      S3OriginConfig: { OriginAccessIdentity: "" },
    });
    expect(only(template, "AWS::CloudFront::OriginAccessControl").Properties.OriginAccessControlConfig).toMatchObject({
      OriginAccessControlOriginType: "s3",
      SigningBehavior: "always",
      SigningProtocol: "sigv4",
    });
  });

  test("H11: sends the security headers", () => {
    expect(behavior.ResponseHeadersPolicyId).toBe("our-headers");
    expect(only(template, "AWS::CloudFront::ResponseHeadersPolicy").Properties.ResponseHeadersPolicyConfig.SecurityHeadersConfig).toEqual({
      StrictTransportSecurity: { AccessControlMaxAgeSec: 31_536_000, IncludeSubdomains: false, Override: true },
      ContentTypeOptions: { Override: true },
      ContentSecurityPolicy: {
        ContentSecurityPolicy:
          "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        Override: true,
      },
      FrameOptions: { FrameOption: "DENY", Override: true },
      ReferrerPolicy: { ReferrerPolicy: "strict-origin-when-cross-origin", Override: true },
    });
  });

  test("keeps no logs and costs no metrics unless it is told to", () => {
    expect(config).not.toHaveProperty("Logging");
    template.resourceCountIs("AWS::S3::Bucket", 1);
    template.resourceCountIs("AWS::CloudFront::MonitoringSubscription", 0);
  });
});

describe("the domain", () => {
  test.each(["A", "AAAA"])("H1: has a record of type %s that points at the distribution", (type) => {
    const record = only(template, "AWS::Route53::RecordSet", (resource) => resource.Properties.Type === type).Properties;
    expect(record).toMatchObject({ Name: "charts.kube9.io.", HostedZoneId: REQUIRED.CHARTS_HOSTED_ZONE_ID });
    expect(record.AliasTarget.DNSName).toBe("d0.cloudfront.net");
  });

  test("H8: has no other records", () => template.resourceCountIs("AWS::Route53::RecordSet", 2));

  test("is left where it is when asked to", () => {
    const quiet = synthesize({ ...USUAL, CHARTS_DNS: "off" });
    quiet.resourceCountIs("AWS::Route53::RecordSet", 0);
    expect(distribution(quiet).Aliases).toEqual(["charts.kube9.io"]);
  });
});

describe("what can be asked for", () => {
  const withEverything: Template = synthesize({
    ...USUAL,
    CHARTS_DOMAIN: "charts.example.com",
    CHARTS_PRICE_CLASS: "PriceClass_100",
    CHARTS_ACCESS_LOGS: "on",
    CHARTS_DETAILED_METRICS: "on",
  });

  test("another domain, fewer edge locations, the paid metrics", () => {
    expect(distribution(withEverything)).toMatchObject({ Aliases: ["charts.example.com"], PriceClass: "PriceClass_100" });
    withEverything.resourceCountIs("AWS::CloudFront::MonitoringSubscription", 1);
  });

  test("access logs, in a private bucket, for 90 days", () => {
    expect(distribution(withEverything).Logging).toMatchObject({ Bucket: "the log bucket's name" });
    const logs = only(withEverything, "AWS::S3::Bucket", (_, id) => id.startsWith("HostingLogs"));
    expect(logs.Properties.BucketName).toBe("kube9-charts-123456789012-logs");
    expect(logs.Properties.PublicAccessBlockConfiguration).toEqual(chartBucket(template).Properties.PublicAccessBlockConfiguration);
    expect(logs.Properties.LifecycleConfiguration.Rules).toEqual([{ Id: "OldLogs", Status: "Enabled", ExpirationInDays: 90 }]);
  });
});
