import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { license, version } from "../package.json" with { type: "json" };

const root = resolve(import.meta.dir, "..");

/** What the package.json of every package that we publish begins with. */
export function manifest(name: string, description: string): Record<string, unknown> {
  return { name, version, description, license };
}

/** A folder with nothing but the package.json and our license. */
export function emptyPackage(dir: string, packageJson: Record<string, unknown>): void {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "package.json"), `${JSON.stringify(packageJson, null, 2)}\n`);
  copyFileSync(join(root, "LICENSE"), join(dir, "LICENSE"));
}
