// The CDK leaves what it synthesizes in the folder for temporary files. The tests give it one of their own, and take that away.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export default function scratch(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "charts-test-"));
  process.env["TMPDIR"] = folder;
  return () => {
    rmSync(folder, { recursive: true });
  };
}
