/**
 * The executable as npm packages: `kakeya`, which has the command, and one package a platform, which has the
 * executable. npm and Bun install the one for their platform, as an optional dependency of the first; no script runs
 * and nothing is downloaded from elsewhere.
 */
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { description, version } from "../package.json" with { type: "json" };
import { type Platform, platforms } from "./executable.ts";
import { licensesOfExecutable } from "./licenses.ts";
import { emptyPackage, manifest } from "./npm-package.ts";

const readme = `# kakeya

${description}

    npm install kakeya
    npx kakeya smoke --duration 30
    npx kakeya serve

The command is one executable with model and runtime inside; it comes with the package of your platform
(${Object.keys(platforms).join(", ")}). There are no install scripts. The TypeScript client is \`kakeya-client\`.
`;

/** The command: starts the executable of the platform's package, which lies beside this one. */
const launcher = `#!/bin/sh
os=$(uname -s) arch=$(uname -m)
case "$os-$arch" in
${Object.entries(platforms)
  .map(([platform, { os, arch }]) => `  ${unameOf(os, arch)}) platform=${platform} ;;`)
  .join("\n")}
  *) echo "kakeya: there is no executable for $os on $arch" >&2; exit 1 ;;
esac
here=$(dirname "$(readlink -f "$0")")
for package in "$here/../kakeya-$platform" "$here/node_modules/kakeya-$platform"; do
  if [ -x "$package/kakeya" ]; then exec "$package/kakeya" "$@"; fi
done
echo "kakeya: the package kakeya-$platform is missing: install it, or install without --no-optional" >&2
exit 1
`;

/** What \`uname\` says on a platform, as a pattern of the shell. */
function unameOf(os: string, arch: string): string {
  return `${os === "darwin" ? "Darwin" : "Linux"}-${arch === "x64" ? "x86_64" : os === "darwin" ? "arm64" : "aarch64"}`;
}

/** Writes the package `kakeya` to the folder of that name in `parent`. */
export function writeCommandPackage(parent: string): void {
  const dir = join(parent, "kakeya");
  const dependencies = Object.keys(platforms).map((platform) => [`kakeya-${platform}`, version]);
  emptyPackage(dir, {
    ...manifest("kakeya", description),
    bin: { kakeya: "kakeya" },
    optionalDependencies: Object.fromEntries(dependencies),
  });
  writeFileSync(join(dir, "README.md"), readme);
  writeFileSync(join(dir, "kakeya"), launcher, { mode: 0o755 });
}

/** Writes the package of a platform, with its `executable`, to the folder of its name in `parent`. */
export function writePlatformPackage(parent: string, platform: Platform, executable: string): void {
  const { os, arch } = platforms[platform];
  const dir = join(parent, `kakeya-${platform}`);
  emptyPackage(dir, {
    ...manifest(`kakeya-${platform}`, `The executable of kakeya for ${platform}.`),
    os: [os],
    cpu: [arch],
    ...(os === "linux" ? { libc: ["glibc"] } : {}),
  });
  writeFileSync(join(dir, "README.md"), `The executable of the package \`kakeya\` for ${platform}.\n`);
  writeFileSync(join(dir, "THIRD-PARTY-LICENSES"), licensesOfExecutable());
  copyFileSync(executable, join(dir, "kakeya"));
}
