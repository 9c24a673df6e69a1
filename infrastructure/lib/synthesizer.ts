// How the template reaches AWS: as a part of the request, with the caller's own credentials, in an account where nothing was prepared.
import { BootstraplessSynthesizer, type ISynthesisSession } from "aws-cdk-lib";

/**
 * CDK's own class of that name refuses assets, but still has the CLI take the roles that a bootstrap would have made. Where there are
 * none, CloudFormation refuses the deployment; where there are, the bucket policy would see a role that it does not know.
 */
export class CallersCredentialsSynthesizer extends BootstraplessSynthesizer {
  override synthesize(session: ISynthesisSession): void {
    this.synthesizeTemplate(session);
    this.emitArtifact(session);
  }
}
