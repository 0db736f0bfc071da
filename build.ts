import { renameSync } from "node:fs";
import { parseArgs } from "node:util";
import { embedModel } from "./build/model-plugin.ts";
import { embedOnnxRuntime } from "./build/onnxruntime-plugin.ts";
import { bundleLong } from "./build/protobufjs-plugin.ts";
import { sourceCommit } from "./src/bench/source-commit.ts";

const targets = ["linux-x64", "linux-arm64", "darwin-arm64"] as const;
type Target = (typeof targets)[number];

const here = `${process.platform}-${process.arch}`;
const { values } = parseArgs({ options: { target: { type: "string", default: here } } });
const isTarget = (name: string): name is Target => targets.some((target) => target === name);
const chosen = values.target === "all" ? targets : [values.target];

for (const target of chosen) {
  if (!isTarget(target)) {
    console.error(`build: there is no target "${target}"; choose one of ${targets.join(", ")} or all`);
    process.exit(2);
  }
  const startedAt = performance.now();
  const outfile = `dist/kakeya${target === here ? "" : `-${target}`}`;
  // Renamed into place when whole: the one before it may be running, or another build may be under way.
  const part = `${outfile}.${process.pid}.part`;
  await compile(target, part);
  renameSync(part, outfile);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${outfile}  ${target}  ${(Bun.file(outfile).size / 1e6).toFixed(0)} MB  ${seconds} s`);
}

/** One executable: Bun, our code as bytecode, ONNX Runtime's libraries and the default model. */
async function compile(target: Target, outfile: string): Promise<void> {
  const [platform, arch] = target.split("-") as [string, string];
  await Bun.build({
    // `new Worker(new URL("./worker.ts", import.meta.url))` names a file beside the code that starts it. In the
    // executable all chunks lie in one folder, so each worker must be an entry point of its own and lie there too,
    // which the naming does; without it engine/worker.ts would be in engine/ and not be found.
    entrypoints: ["src/main.ts", "src/engine/worker.ts", "src/model/weight-worker.ts"],
    naming: { entry: "[name].[ext]" },
    plugins: [embedOnnxRuntime(platform, arch), embedModel(`${import.meta.dir}/models/kakeya-tiny`), bundleLong],
    // Reports say which revision they measured.
    define: { "process.env.KAKEYA_COMMIT": JSON.stringify(sourceCommit() ?? "") },
    format: "esm",
    splitting: true, // so that --version and --help load next to nothing
    minify: true,
    bytecode: true,
    compile: {
      outfile,
      target: `bun-${target}`,
      // Otherwise it would load .env, and run a bunfig's preload, from whatever folder it is started in.
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
  });
}
