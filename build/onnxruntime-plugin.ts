import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { BunPlugin } from "bun";
import { embed } from "./embed.ts";

const root = dirname(Bun.resolveSync("onnxruntime-node/package.json", import.meta.dir));
const addon = resolve(import.meta.dir, "../src/ort/addon.ts");
const requireOfAddon = /require\(`[^`]*onnxruntime_binding\.node`\)/;

/**
 * Puts ONNX Runtime's libraries for one platform into the executable, and has onnxruntime-node take its addon from
 * there. `bun build --compile` by itself embeds the addon without the library that it links to.
 */
export function embedOnnxRuntime(platform: string, arch: string): BunPlugin {
  const dir = join(root, "bin/napi-v6", platform, arch);
  // The npm package carries the dylib twice, under its full and its short version; the addon links to the short one.
  const names = readdirSync(dir).filter((name) => !/\.\d+\.\d+\.\d+\.dylib$/.test(name));
  return {
    name: "embed-onnxruntime",
    setup(build) {
      build.onLoad({ filter: /[\\/]onnxruntime-node[\\/]dist[\\/]binding\.js$/ }, ({ path }) => {
        const source = readFileSync(path, "utf8");
        if (!requireOfAddon.test(source)) throw new Error(`${path}: no require of the addon: has its layout changed?`);
        return { contents: source.replace(requireOfAddon, 'require("embedded:onnxruntime").addon'), loader: "js" };
      });
      build.onResolve({ filter: /^embedded:onnxruntime$/ }, ({ path }) => ({ path, namespace: "embedded" }));
      build.onLoad({ filter: /./, namespace: "embedded" }, () => {
        const { imports, list } = embed(names.map((name) => join(dir, name)));
        const contents = `${imports}
import { version } from ${JSON.stringify(join(root, "package.json"))};
import { openAddon } from ${JSON.stringify(addon)};
export const addon = openAddon(version, ${list});`;
        return { contents, loader: "ts" };
      });
    },
  };
}
