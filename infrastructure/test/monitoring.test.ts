// What is watched, and who is told.
import { Template } from "aws-cdk-lib/assertions";
import { describe, expect, test } from "vitest";

import { only, synthesize, USUAL } from "./support.ts";

const template = synthesize();
const TOPIC = "arn:aws:sns:us-east-1:123456789012:pager";
const alarm = (from: Template, name: string) =>
  only(from, "AWS::CloudWatch::Alarm", (resource) => resource.Properties.AlarmName === `kube9-operator-charts-${name}`).Properties;
const graphs = (from: Template): string[] => {
  const { DashboardBody, DashboardName } = only(from, "AWS::CloudWatch::Dashboard").Properties;
  expect(DashboardName).toBe("kube9-operator-charts");
  const names = ({ properties }: any) => [properties.title, ...properties.metrics.map((metric: string[]) => metric[1])];
  return JSON.parse(DashboardBody).widgets.map((widget: any) => names(widget).join(": "));
};

describe.each([
  ["5xx", 5],
  ["4xx", 50],
])("the alarm for %s", (name, threshold) => {
  test("goes off when it lasts", () => {
    expect(alarm(template, name)).toMatchObject({
      Namespace: "AWS/CloudFront",
      MetricName: `${name}ErrorRate`,
      Dimensions: [{ Name: "DistributionId", Value: "E0000000000000" }],
      ComparisonOperator: "GreaterThanThreshold",
      Threshold: threshold,
      Period: 300,
      EvaluationPeriods: 3,
      DatapointsToAlarm: 3,
      TreatMissingData: "notBreaching",
    });
  });

  test("tells nobody unless it is told whom", () => expect(alarm(template, name)).not.toHaveProperty("AlarmActions"));

  test("tells an address and a topic, also when it is over", () => {
    const told = synthesize({ ...USUAL, CHARTS_ALARM_EMAIL: "ann@example.com", CHARTS_ALARM_TOPIC_ARN: TOPIC });
    expect(alarm(told, name)).toMatchObject({ AlarmActions: ["our topic", TOPIC], OKActions: ["our topic", TOPIC] });
    expect(only(told, "AWS::SNS::Subscription").Properties).toMatchObject({ Protocol: "email", Endpoint: "ann@example.com" });
  });
});

describe("the dashboard", () => {
  const FREE = [
    "Requests: Requests",
    "Error rates (%): 4xxErrorRate: 5xxErrorRate",
    "Objects in the bucket: NumberOfObjects",
    "Bytes in the bucket: BucketSizeBytes",
  ];

  test("shows what is free", () => expect(graphs(template)).toEqual(FREE));

  test("shows the cache hit ratio where it is paid for", () => {
    const paid = synthesize({ ...USUAL, CHARTS_DETAILED_METRICS: "on" });
    expect(graphs(paid)).toEqual([...FREE, "Cache hit ratio (%): CacheHitRate"]);
  });
});
