import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    globalSetup: "test/scratch.ts",
    // Synthesizing takes seconds on a busy machine, which the default limit of five does not allow for.
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
