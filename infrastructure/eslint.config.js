// typescript-eslint rather than a faster linter: its strict rules know the types, and mistakes such as a promise that nobody waits
// for, or a condition that is always true, cannot be seen without them.
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

/** A template is JSON without types: what a test asks of it, it asserts, and ends where it is not so. */
const ABOUT_TYPES = [
  "no-explicit-any",
  "no-non-null-assertion",
  "no-unsafe-argument",
  "no-unsafe-assignment",
  "no-unsafe-call",
  "no-unsafe-member-access",
  "no-unsafe-return",
  "restrict-template-expressions",
];

export default defineConfig(
  { ignores: ["cdk.out"] },
  ...tseslint.configs.strictTypeChecked,
  { languageOptions: { parserOptions: { projectService: { allowDefaultProject: ["*.js", "vitest.config.ts"] } } } },
  { rules: { "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }] } },
  { files: ["test/**"], rules: Object.fromEntries(ABOUT_TYPES.map((rule) => [`@typescript-eslint/${rule}`, "off"])) },
);
