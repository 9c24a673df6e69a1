// The one stack: what it is made of, and what it tells those who publish.
import { CfnOutput, Stack } from "aws-cdk-lib";
import type { Construct } from "constructs";

import { Hosting } from "./hosting.ts";
import { type Inputs, REGION } from "./inputs.ts";
import { Monitoring } from "./monitoring.ts";
import { deployRoleName, Publisher } from "./publisher.ts";
import { CallersCredentialsSynthesizer } from "./synthesizer.ts";

/** Everything behind the chart repository's address. */
export class ChartsStack extends Stack {
  constructor(scope: Construct, id: string, inputs: Inputs) {
    super(scope, id, {
      stackName: inputs.stackName,
      description: `Helm charts at https://${inputs.domain}`,
      env: { account: inputs.account, region: REGION },
      synthesizer: new CallersCredentialsSynthesizer(),
      analyticsReporting: false,
      terminationProtection: true,
    });
    const deployRole = `arn:aws:iam::${inputs.account}:role/${deployRoleName(inputs.stackName)}`;
    const hosting = new Hosting(this, "Hosting", {
      ...inputs,
      bucketName: `kube9-charts-${inputs.account}`,
      guardians: { deployRole, breakGlass: inputs.breakGlass },
    });
    const publisher = new Publisher(this, "Publisher", { ...inputs, hosting });
    new Monitoring(this, "Monitoring", { ...inputs, hosting, publishRole: publisher.publishRole });
    this.tell(inputs, hosting, publisher);
  }

  /** Releases look for the bucket and the distribution by these names. */
  private tell(inputs: Inputs, { bucket, distribution }: Hosting, publisher: Publisher): void {
    const outputs = {
      BucketName: bucket.bucketName,
      BucketArn: bucket.bucketArn,
      DistributionId: distribution.distributionId,
      DistributionDomain: distribution.distributionDomainName,
      RepositoryUrl: `https://${inputs.domain}`,
      PublishRoleArn: publisher.publishRole.roleArn,
      DeployRoleArn: publisher.deployRole.roleArn,
    };
    Object.entries(outputs).forEach(([name, value]) => new CfnOutput(this, name, { value }));
  }
}
