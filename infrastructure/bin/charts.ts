// The app that the CDK CLI runs. Everything it is told comes from the environment, so that a laptop and CI say the same words.
import { App } from "aws-cdk-lib";

import { readInputs, WrongInputs } from "../lib/inputs.ts";
import { ChartsStack } from "../lib/stack.ts";

try {
  const inputs = readInputs(process.env);
  new ChartsStack(new App(), inputs.stackName, inputs);
} catch (error) {
  // A stack trace would bury the one thing that the reader can act on.
  if (!(error instanceof WrongInputs)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
