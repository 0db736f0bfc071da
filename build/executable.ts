import { mkdirSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { sourceCommit } from "../src/cli/self.ts";
import { publish } from "../src/files/atomic-file.ts";
import { removeDeadParts } from "../src/files/part.ts";
import { newPartFolder } from "../src/files/part-folder.ts";
import { embedModel } from "./model-plugin.ts";
import { embedOnnxRuntime } from "./onnxruntime-plugin.ts";
import { bundleLong } from "./protobufjs-plugin.ts";

const root = resolve(import.meta.dir, "..");

/** What an executable can be built for, on any of them. */
export const platforms = {
  "linux-x64": { os: "linux", arch: "x64" },
  "linux-arm64": { os: "linux", arch: "arm64" },
  "darwin-arm64": { os: "darwin", arch: "arm64" },
} as const;

export type Platform = keyof typeof platforms;

/** One file that runs anywhere: Bun, our code as bytecode, ONNX Runtime's libraries and the default model. */
export async function buildExecutable(platform: Platform, outfile: string): Promise<void> {
  mkdirSync(dirname(outfile), { recursive: true });
  removeDeadParts(dirname(outfile));
  // Renamed into place when whole: the one before it may be running, or another build may be under way.
  const part = newPartFolder(outfile);
  const startedIn = process.cwd();
  // Bun writes to a hidden file in the current folder first, which a killed build leaves there.
  process.chdir(part);
  try {
    const finished = join(part, basename(outfile));
    await compile(platform, finished);
    publish(finished, outfile);
  } finally {
    process.chdir(startedIn);
    rmSync(part, { recursive: true, force: true });
  }
}

async function compile(platform: Platform, outfile: string): Promise<void> {
  const { os, arch } = platforms[platform];
  await Bun.build({
    // `new Worker(new URL("./worker.ts", import.meta.url))` means a file beside the code that starts it. In the
    // executable all chunks lie in one folder; so each worker must be an entry point of its own and, by this naming,
    // lie there too. Left to itself, engine/worker.ts would be in engine/, and not be found.
    entrypoints: ["src/main.ts", "src/engine/worker.ts", "src/graph/weight-worker.ts", "src/state/state-worker.ts"].map(
      (path) => join(root, path),
    ),
    naming: { entry: "[name].[ext]" },
    plugins: [embedOnnxRuntime(os, arch), embedModel(join(root, "models/kakeya-tiny")), bundleLong],
    // Reports say which revision they measured.
    define: { "process.env.KAKEYA_COMMIT": JSON.stringify(sourceCommit() ?? "") },
    format: "esm",
    splitting: true, // so that --version and --help load next to nothing
    minify: true,
    bytecode: true,
    compile: {
      outfile,
      target: `bun-${platform}`,
      // Otherwise it would load .env, and run a bunfig's preload, from whatever folder it is started in.
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
  });
}
