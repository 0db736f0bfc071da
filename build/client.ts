import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { packageCommand } from "../tools/package-command.ts";

const root = resolve(import.meta.dir, "..");

/** Writes the SDK as Node.js and TypeScript import it: one ES module and its declarations, in `dist/client`. */
export async function buildClient(): Promise<void> {
  const outdir = join(root, "dist/client");
  rmSync(outdir, { recursive: true, force: true });
  const entrypoints = [join(root, "src/client/index.ts")];
  await Bun.build({ entrypoints, target: "node", format: "esm", packages: "external", outdir });
  const tsc = Bun.spawn([...packageCommand("tsc"), "--project", "tsconfig.client.json"], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if ((await tsc.exited) !== 0) throw new Error("the SDK's declarations could not be written");
}
