import { command } from "../src/cli/command.ts";
import { print, say } from "../src/cli/output.ts";
import { progress, showBytes } from "../src/cli/progress.ts";
import { formatBytes } from "../src/cli/units.ts";

export default command({
  name: "pull",
  description: "Download a model into the Hugging Face cache, from where an earlier pull stopped.",
  args: {
    model: {
      type: "positional",
      description: "A model on the hub: org/name, or org/name@revision for a branch, tag or commit",
      required: true,
    },
    json: { type: "boolean", description: "Print JSON instead of the folder", default: false },
  },
  examples: ["pull Qwen/Qwen3-0.6B", "pull Qwen/Qwen3-0.6B@main --json"],
  async run({ args }) {
    const { pull } = await import("../src/checkpoint/pull.ts");
    const line = progress();
    try {
      const pulled = await pull(args.model, { env: process.env, onProgress: showBytes(line, `pulling ${args.model}`) });
      line.end();
      const { modelId, commit, dir, files, bytes, downloadedBytes } = pulled;
      const news = downloadedBytes === 0 ? "it was there already" : `${formatBytes(downloadedBytes)} downloaded`;
      say(
        `${modelId}: ${files.length} files, ${formatBytes(bytes)}; ${news}. Start it: kakeya serve --model ${modelId}`,
      );
      const facts = { model: modelId, commit, dir, files, bytes, downloaded_bytes: downloadedBytes };
      print(args.json ? JSON.stringify(facts, null, 2) : dir);
      return undefined;
    } finally {
      line.end();
    }
  },
});
