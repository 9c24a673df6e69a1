import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    globalSetup: "test/scratch.ts",
    // No test changes what another one imports; loading the CDK once for each file would take twice as long as all tests.
    isolate: false,
    // Synthesizing takes seconds on a busy machine, which the default limit of five does not allow for.
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
