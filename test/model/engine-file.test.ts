import { describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../src/model/config.ts";
import { type EngineFile, type EngineFileOptions, ensureEngineFile } from "../../src/model/engine-file.ts";
import { writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";
import { scratchDir } from "./scratch.ts";
import { smallDisk, whyNoSmallDisk } from "./small-disk.ts";

const golden = (name: string) => join(import.meta.dir, "../golden", name);

/** Copies a golden model to where it may be changed. */
function copyOf(name: string, to: string): string {
  const dir = join(to, name);
  for (const file of ["config.json", "model.safetensors"]) cpSync(join(golden(name), file), join(dir, file));
  return dir;
}

function ensure(modelDir: string, cacheDir: string, options: Partial<EngineFileOptions> = {}): EngineFile {
  return ensureEngineFile({ modelDir, config: readConfig(modelDir), quantization: "q8", cacheDir, ...options });
}

const enginesIn = (cacheDir: string) =>
  existsSync(join(cacheDir, "engines")) ? readdirSync(join(cacheDir, "engines")) : [];

function editJson(file: string, change: Record<string, unknown>): void {
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...change }));
}

/** Flips the lowest bit of a weight, and keeps size and modification time as they were. */
function flipWeightBit(modelDir: string, fromEnd: number): void {
  const file = join(modelDir, "model.safetensors");
  const { atime, mtime } = statSync(file);
  const bytes = readFileSync(file);
  bytes[bytes.length - fromEnd] = (bytes[bytes.length - fromEnd] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  utimesSync(file, atime, mtime);
}

describe("An engine file", () => {
  test("is built once, with progress to the last byte, and then taken from the cache", () => {
    using scratch = scratchDir();
    const progress: { doneBytes: number; totalBytes: number }[] = [];
    const first = ensure(golden("qwen3-tied"), scratch.path, { onProgress: (p) => progress.push(p) });
    expect(progress.length).toBeGreaterThan(10);
    expect(progress.every((p, i) => i === 0 || p.doneBytes > (progress[i - 1]?.doneBytes ?? 0))).toBe(true);
    expect(progress.at(-1)?.doneBytes).toBe(progress.at(-1)?.totalBytes ?? -1);
    expect(readdirSync(first.dir).sort()).toEqual(["manifest.json", "model.onnx", "weights.bin"]);

    const again = ensure(golden("qwen3-tied"), scratch.path, {
      onProgress: () => {
        throw new Error("built again");
      },
    });
    expect(again).toEqual(first);
    expect(enginesIn(scratch.path).length).toBe(1);
  });

  test("is another one for another quantization, configuration or weight, even of the same file time", () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    const engines = [ensure(dir, scratch.path), ensure(dir, scratch.path, { quantization: "q4" })];
    editJson(join(dir, "config.json"), { rms_norm_eps: 1e-5 });
    engines.push(ensure(dir, scratch.path));
    flipWeightBit(dir, 2);
    engines.push(ensure(dir, scratch.path));
    expect(new Set(engines.map((engine) => engine.dir)).size).toBe(4);
    expect(new Set(engines.map((engine) => engine.fingerprint)).size).toBe(4);
  });

  test("has the same fingerprint however the weights are spread over files", () => {
    using scratch = scratchDir();
    const config = JSON.parse(readFileSync(join(golden("llama3-rope"), "config.json"), "utf8"));
    const fingerprints = [1, 2, 5].map((shards) => {
      const dir = join(scratch.path, String(shards));
      writeRandomCheckpoint(dir, { config, seed: 3, shards });
      return ensure(dir, scratch.path).fingerprint;
    });
    expect(new Set(fingerprints).size).toBe(1);
    expect(fingerprints[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  test("answers for an embedding that stays in the checkpoint, too", () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen2-bias", scratch.path); // Its head is another matrix than its embedding.
    const before = ensure(dir, scratch.path).fingerprint;
    const header = readFileSync(join(dir, "model.safetensors"));
    const json = JSON.parse(header.subarray(8, 8 + Number(header.readBigUInt64LE())).toString());
    const [, end] = json["model.embed_tokens.weight"].data_offsets;
    flipWeightBit(dir, header.length - (8 + Number(header.readBigUInt64LE()) + end) + 2);
    expect(ensure(dir, scratch.path).fingerprint).not.toBe(before);
  });

  const damage: [string, (dir: string) => void][] = [
    ["lacks its manifest", (dir) => rmSync(join(dir, "manifest.json"))],
    ["has a manifest that is no JSON", (dir) => writeFileSync(join(dir, "manifest.json"), "{")],
    ["has a manifest of something else", (dir) => writeFileSync(join(dir, "manifest.json"), "{}")],
    ["lacks its graph", (dir) => rmSync(join(dir, "model.onnx"))],
    ["has only half its weights", (dir) => truncateSync(join(dir, "weights.bin"), 4096)],
  ];
  test.each(damage)("is built anew when its folder %s", (_, spoil) => {
    using scratch = scratchDir();
    const first = ensure(golden("qwen3-tied"), scratch.path);
    const weights = readFileSync(join(first.dir, "weights.bin"));
    spoil(first.dir);
    expect(ensure(golden("qwen3-tied"), scratch.path)).toEqual(first);
    expect(readFileSync(join(first.dir, "weights.bin")).equals(weights)).toBe(true);
    expect(enginesIn(scratch.path).length).toBe(1);
  });

  test("is whole when two processes build it at once", async () => {
    using scratch = scratchDir();
    const script = `
      import { readConfig } from "${join(import.meta.dir, "../../src/model/config.ts")}";
      import { ensureEngineFile } from "${join(import.meta.dir, "../../src/model/engine-file.ts")}";
      const modelDir = "${join(import.meta.dir, "../../models/kakeya-tiny")}";
      await Bun.stdin.text(); // Both start when both are there.
      const engine = ensureEngineFile({ modelDir, config: readConfig(modelDir), quantization: "f32", cacheDir: "${scratch.path}" });
      console.log(JSON.stringify(engine));`;
    const builders = [0, 1, 2].map(() =>
      Bun.spawn([process.execPath, "-e", script], { stdin: "pipe", stdout: "pipe", stderr: "inherit" }),
    );
    for (const builder of builders) builder.stdin.end();
    const answers = await Promise.all(builders.map((builder) => new Response(builder.stdout).text()));
    expect(await Promise.all(builders.map((builder) => builder.exited))).toEqual([0, 0, 0]);
    expect(new Set(answers).size).toBe(1);
    expect(enginesIn(scratch.path).length).toBe(1);
  });

  test("of a process that was killed leaves a folder that the next one removes, once nobody writes to it", async () => {
    using scratch = scratchDir();
    const engines = join(scratch.path, "engines");
    const script = `
      import { readConfig } from "${join(import.meta.dir, "../../src/model/config.ts")}";
      import { ensureEngineFile } from "${join(import.meta.dir, "../../src/model/engine-file.ts")}";
      const modelDir = "${golden("qwen3-tied")}";
      ensureEngineFile({ modelDir, config: readConfig(modelDir), quantization: "q8", cacheDir: "${scratch.path}",
        onProgress: () => process.kill(process.pid, "SIGKILL") });`;
    await Bun.spawn([process.execPath, "-e", script], { stderr: "ignore" }).exited;
    const [left = ""] = enginesIn(scratch.path);
    expect(left).toMatch(/\.part$/);

    ensure(golden("qwen3-tied"), scratch.path); // It may yet be another container's, so it stays.
    expect(enginesIn(scratch.path)).toContain(left);
    const hourAgo = new Date(Date.now() - 3_600_000);
    for (const file of ["", ...readdirSync(join(engines, left))])
      utimesSync(join(engines, left, file), hourAgo, hourAgo);
    ensure(golden("qwen3-tied"), scratch.path);
    expect(enginesIn(scratch.path)).not.toContain(left);
    expect(enginesIn(scratch.path).length).toBe(1);
  });
});

describe("Nothing is left behind, and the error says what to do, when", () => {
  function expectRefused(
    modelDir: string,
    cacheDir: string,
    message: RegExp,
    options: Partial<EngineFileOptions> = {},
  ) {
    expect(() => ensure(modelDir, cacheDir, options)).toThrow(message);
    expect(enginesIn(cacheDir)).toEqual([]);
  }

  test("the configuration is of another model than the weights", () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    editJson(join(dir, "config.json"), { intermediate_size: 128 });
    expectRefused(
      dir,
      scratch.path,
      /model\.safetensors: tensor .*mlp\.gate_proj\.weight has the shape \[160, 64\], but config\.json asks for \[128, 64\]/,
    );
  });

  test("a tensor is missing", () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    editJson(join(dir, "config.json"), { tie_word_embeddings: false });
    expectRefused(dir, scratch.path, /tensor lm_head\.weight is in none of the weight files/);
  });

  test.each(["f32", "q8", "q4"] as const)("a weight is no number (%s)", (quantization) => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    const file = join(dir, "model.safetensors");
    const bytes = readFileSync(file);
    bytes.writeUInt16LE(0x7fc0, bytes.length - 2); // The last bf16 value.
    writeFileSync(file, bytes);
    expectRefused(
      dir,
      scratch.path,
      /model\.safetensors: tensor model\..* holds infinities or NaNs\. .*download it again/,
      { quantization },
    );
  });

  test("the tokenizer has more tokens than the model", () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    writeFileSync(join(dir, "tokenizer.json"), JSON.stringify({ model: { vocab: { a: 0, b: 320 } } }));
    expectRefused(dir, scratch.path, /tokenizer\.json: has token ids up to 320, but the model knows only 320 tokens/);
  });

  test("the cache is a file", () => {
    using scratch = scratchDir();
    const file = join(scratch.path, "cache");
    writeFileSync(file, "");
    expect(() => ensure(golden("qwen3-tied"), file)).toThrow(/can't be written.* set KAKEYA_CACHE_DIR/);
  });

  const reason = whyNoSmallDisk();
  describe.skipIf(reason !== undefined)(
    `on a disk of its own${reason === undefined ? "" : ` (skipped: ${reason})`}`,
    () => {
      test("there is too little space from the start", () => {
        using disk = smallDisk(64 << 10);
        expectRefused(
          golden("qwen3-tied"),
          disk.path,
          /engines: the engine file takes 0\.\d MB, and 0\.1 MB are free here\. Free some space/,
        );
      });

      test("the disk fills up in the middle", () => {
        using disk = smallDisk(1 << 20);
        const onProgress = () => {
          const filler = join(disk.path, "filler");
          if (!existsSync(filler)) expect(() => writeFileSync(filler, Buffer.alloc(1 << 20))).toThrow("ENOSPC");
        };
        expectRefused(golden("qwen3-tied"), disk.path, /the disk is full .*Free some space, or set KAKEYA_CACHE_DIR/, {
          onProgress,
        });
      });

      test("the cache is read-only; what is already built in it still serves", () => {
        using disk = smallDisk(1 << 20);
        const built = ensure(golden("qwen3-tied"), disk.path);
        disk.remount("ro");
        expect(ensure(golden("qwen3-tied"), disk.path)).toEqual(built);
        expect(() => ensure(golden("qwen2-bias"), disk.path)).toThrow(
          /can't be written .*EROFS.* set KAKEYA_CACHE_DIR/,
        );
        expect(enginesIn(disk.path).length).toBe(1);
      });
    },
  );
});
