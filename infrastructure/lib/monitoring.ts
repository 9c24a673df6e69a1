// Whether users get their charts, seen from AWS's side: one page of graphs, and a word to somebody when requests fail.
import { Duration, Stack } from "aws-cdk-lib";
import { Distribution } from "aws-cdk-lib/aws-cloudfront";
import { Alarm, ComparisonOperator, Dashboard, GraphWidget, Metric, TreatMissingData, type IMetric } from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import { type ITopic, Topic } from "aws-cdk-lib/aws-sns";
import { EmailSubscription } from "aws-cdk-lib/aws-sns-subscriptions";
import type { IRole } from "aws-cdk-lib/aws-iam";
import { Construct } from "constructs";

import type { Hosting } from "./hosting.ts";
import { Watch } from "./watch.ts";

/** What monitoring is told. */
export interface MonitoringProps {
  /** What it watches. */
  readonly hosting: Hosting;
  /** The role by which releases write the index. */
  readonly publishRole: IRole;
  /** Whether CloudFront's paid metrics are on. Default: false. */
  readonly detailedMetrics?: boolean;
  /** Who is written to. Default: nobody. */
  readonly alarmEmail?: string;
  /** A topic that is told. Default: none. */
  readonly alarmTopicArn?: string;
}

interface Limit {
  readonly name: string;
  readonly metric: IMetric;
  readonly percent: number;
  readonly meaning: string;
}

const PERIOD = Duration.minutes(5);

/** A dashboard, two alarms, and a word about every write of the index that no release made. */
export class Monitoring extends Construct {
  private readonly stack = Stack.of(this);

  constructor(scope: Construct, id: string, props: MonitoringProps) {
    super(scope, id);
    const { distribution } = props.hosting;
    const topics = this.topics(props);
    const action = topics.map((topic) => new SnsAction(topic));
    for (const limit of limits(distribution)) {
      const alarm = this.alarm(limit);
      alarm.addAlarmAction(...action);
      alarm.addOkAction(...action);
    }
    this.dashboard(props);
    if (topics.length > 0) new Watch(this, "Watch", { bucket: props.hosting.bucket, publishRole: props.publishRole, topics });
  }

  private alarm(limit: Limit): Alarm {
    return new Alarm(this, limit.name, {
      // The deploy role's rights are bound to this prefix.
      alarmName: `${this.stack.stackName}-${limit.name}`,
      alarmDescription: limit.meaning,
      metric: limit.metric,
      threshold: limit.percent,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      // With few requests, one that fails is a high rate; it has to last.
      evaluationPeriods: 3,
      datapointsToAlarm: 3,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    });
  }

  private topics(props: MonitoringProps): ITopic[] {
    const given = props.alarmTopicArn ? [Topic.fromTopicArn(this, "GivenTopic", props.alarmTopicArn)] : [];
    return props.alarmEmail ? [this.mailTopic(props.alarmEmail), ...given] : given;
  }

  private mailTopic(address: string): ITopic {
    const topic = new Topic(this, "Topic", { topicName: `${this.stack.stackName}-alarms`, enforceSSL: true });
    topic.addSubscription(new EmailSubscription(address));
    return topic;
  }

  private dashboard({ hosting, detailedMetrics }: MonitoringProps): void {
    const { bucket, distribution } = hosting;
    const edge = { period: PERIOD };
    const graphs: Record<string, IMetric[]> = {
      Requests: [distribution.metricRequests({ ...edge, statistic: "Sum" })],
      "Error rates (%)": [distribution.metric4xxErrorRate(edge), distribution.metric5xxErrorRate(edge)],
      "Objects in the bucket": [stored(bucket.bucketName, "NumberOfObjects", "AllStorageTypes")],
      "Bytes in the bucket": [stored(bucket.bucketName, "BucketSizeBytes", "StandardStorage")],
      ...(detailedMetrics ? { "Cache hit ratio (%)": [distribution.metricCacheHitRate(edge)] } : {}),
    };
    new Dashboard(this, "Dashboard", {
      dashboardName: this.stack.stackName,
      widgets: Object.entries(graphs).map(([title, left]) => [new GraphWidget({ title, left, width: 24, region: this.stack.region })]),
    });
  }
}

function limits(distribution: Distribution): Limit[] {
  return [
    {
      name: "5xx",
      metric: distribution.metric5xxErrorRate({ period: PERIOD }),
      percent: 5,
      meaning: "More than 5 % of the requests for charts failed on AWS's side for 15 minutes.",
    },
    {
      name: "4xx",
      metric: distribution.metric4xxErrorRate({ period: PERIOD }),
      // Helm asks for signatures that are not there, and scanners ask for anything.
      percent: 50,
      meaning: "More than half of the requests for charts were for what is not there for 15 minutes: is the index damaged?",
    },
  ];
}

/** S3 counts once a day. */
function stored(bucket: string, metricName: string, storage: string): Metric {
  return new Metric({
    namespace: "AWS/S3",
    metricName,
    dimensionsMap: { BucketName: bucket, StorageType: storage },
    period: Duration.days(1),
    statistic: "Average",
  });
}
