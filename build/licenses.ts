/** What our packages owe to the authors of what they contain: names, versions and licenses. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { packages as lock } from "../package-lock.json" with { type: "json" };

const root = resolve(import.meta.dir, "..");

/** The two parts that are native code, and whose packages come without the text of a license. */
const nativeNotices: Record<string, (version: string) => string> = {
  bun: (version) =>
    `Bun, and what it contains (among it JavaScriptCore, under the LGPL 2.0), with where to get their sources:
https://github.com/oven-sh/bun/blob/bun-v${version}/LICENSE.md`,
  "onnxruntime-node": (version) =>
    `Copyright (c) Microsoft Corporation. ONNX Runtime's license, and the notices of what it contains:
https://github.com/microsoft/onnxruntime/blob/v${version}/LICENSE
https://github.com/microsoft/onnxruntime/blob/v${version}/ThirdPartyNotices.txt`,
};

/** The licenses of the packages that are installed to run the executable: at least all that are in it. */
export function licensesOfExecutable(): string {
  const installed = Object.entries(lock).flatMap(([dir, entry]) =>
    dir.startsWith("node_modules/") && !("dev" in entry) && !("optional" in entry) ? [dir] : [],
  );
  return licenses(installed);
}

/** The licenses of the packages that bundled `files` come from. */
export function licensesOfFiles(files: readonly string[]): string {
  return licenses(files.flatMap((file) => file.match(/^.*node_modules\/(@[^/]+\/)?[^/]+/)?.[0] ?? []));
}

function licenses(dirs: readonly string[]): string {
  if (dirs.length === 0) throw new Error("there is no package to name: where are those that were bundled?");
  const texts = [...new Set(dirs)].sort().map((dir) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, dir, "package.json"), "utf8"));
    const file = readdirSync(join(root, dir)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? nativeNotices[name]?.(version) : readFileSync(join(root, dir, file), "utf8");
    return [`${name} ${version} (${license})`, ...(text === undefined ? [] : ["", text.trim()]), ""].join("\n");
  });
  return texts.join(`\n${"-".repeat(80)}\n`);
}
