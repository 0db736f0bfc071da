import { basename, join } from "node:path";
import type { BunPlugin } from "bun";
import { embed } from "./embed.ts";

const needed = [
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
];

/** Puts a model directory into the executable, in place of the empty `src/checkpoint/embedded-files.ts`. */
export function embedModel(dir: string): BunPlugin {
  return {
    name: "embed-model",
    setup(build) {
      build.onLoad({ filter: /[\\/]src[\\/]checkpoint[\\/]embedded-files\.ts$/ }, () => {
        const { imports, list } = embed(needed.map((name) => join(dir, name)));
        const contents = `${imports}\nexport const embeddedModel = { name: "${basename(dir)}", files: ${list} };`;
        return { contents, loader: "ts" };
      });
    },
  };
}
