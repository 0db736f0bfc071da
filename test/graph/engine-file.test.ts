import { describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { cacheRoot } from "../../src/cache/folder.ts";
import { loadEngine } from "../../src/engine/load.ts";
import { writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";
import { scratchDir } from "../scratch.ts";
import { copyOf, editJson, enginesIn, ensure, golden } from "./engine-files.ts";

const tiny = join(import.meta.dir, "../../models/kakeya-tiny");

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
  test("is built once, with progress to the last byte, and then taken from the cache", async () => {
    using scratch = scratchDir();
    const progress: { doneBytes: number; totalBytes: number }[] = [];
    const first = await ensure(golden("qwen3-tied"), scratch.path, { onProgress: (p) => progress.push(p) });
    expect(progress.length).toBeGreaterThan(10);
    expect(progress.every((p, i) => i === 0 || p.doneBytes > (progress[i - 1]?.doneBytes ?? 0))).toBe(true);
    expect(progress.at(-1)?.doneBytes).toBe(progress.at(-1)?.totalBytes ?? -1);
    expect(readdirSync(first.dir).sort()).toEqual(["manifest.json", "model.onnx", "weights.bin"]);

    const again = await ensure(golden("qwen3-tied"), scratch.path, {
      onProgress: () => {
        throw new Error("built again");
      },
    });
    expect(again).toEqual(first);
    expect(enginesIn(scratch.path).length).toBe(1);
  });

  test("is another one for another quantization, configuration or weight, even of the same file time", async () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    const engines = [await ensure(dir, scratch.path), await ensure(dir, scratch.path, { quantization: "q4" })];
    editJson(join(dir, "config.json"), { rms_norm_eps: 1e-5 });
    engines.push(await ensure(dir, scratch.path));
    flipWeightBit(dir, 2);
    engines.push(await ensure(dir, scratch.path));
    expect(new Set(engines.map((engine) => engine.dir)).size).toBe(4);
    expect(new Set(engines.map((engine) => engine.fingerprint)).size).toBe(4);
  });

  describe("of an earlier version", () => {
    const hourAgo = new Date(Date.now() - 3_600_000);

    /** Makes what was just built look like another version's, of another key. */
    function renamed(dir: string, version: string, usedAt: Date): string {
      const other = `${dir.slice(0, -4)}${version.padStart(4, "0")}`;
      renameSync(dir, other);
      editJson(join(other, "manifest.json"), { graphVersion: version });
      utimesSync(other, usedAt, usedAt);
      return other;
    }

    test("is removed by the one that replaces it, and a later version's is not", async () => {
      using scratch = scratchDir();
      const earlier = renamed((await ensure(golden("qwen3-tied"), scratch.path)).dir, "1", hourAgo);
      const later = renamed((await ensure(golden("qwen2-bias"), scratch.path)).dir, "9999", hourAgo);
      const ours = await ensure(golden("qwen3-tied"), scratch.path);
      expect(enginesIn(scratch.path).sort()).toEqual([later, ours.dir].map((dir) => basename(dir)).sort());
      expect(existsSync(earlier)).toBe(false);
    });

    test("stays while a process may be about to open it", async () => {
      using scratch = scratchDir();
      const taken = await ensure(golden("qwen3-tied"), scratch.path);
      utimesSync(taken.dir, hourAgo, hourAgo);
      await ensure(golden("qwen3-tied"), scratch.path); // takes it again
      const earlier = renamed(taken.dir, "1", statSync(taken.dir).mtime);
      await ensure(golden("qwen2-bias"), scratch.path);
      expect(existsSync(earlier)).toBe(true);
    });

    test("is removed under a process that runs it, which runs on", async () => {
      using scratch = scratchDir();
      process.env.KAKEYA_CACHE_DIR ??= scratch.path;
      const model = copyOf("qwen3-tied", scratch.path);
      editJson(join(model, "config.json"), { rms_norm_eps: 1e-4 }); // no other test's engine file
      const options = { model, quantization: "q8" as const, sink: 4, window: 64, capacity: 2, threads: 1 };
      const core = await loadEngine(options, () => {});
      const bits = async () => {
        const sequence = await core.create();
        await core.append(sequence, Uint32Array.of(1, 2, 3));
        return Bun.hash(core.logits(sequence));
      };
      const before = await bits();
      const earlier = renamed((await ensure(model, cacheRoot())).dir, "1", hourAgo);
      await ensure(golden("qwen2-bias"), cacheRoot());
      expect(existsSync(earlier)).toBe(false);
      expect(await bits()).toBe(before);
      await core.close();
    });
  });

  test("has the same fingerprint however the weights are spread over files", async () => {
    using scratch = scratchDir();
    const config = JSON.parse(readFileSync(join(golden("llama3-rope"), "config.json"), "utf8"));
    const fingerprints = new Set<string>();
    for (const shards of [1, 2, 5]) {
      const dir = join(scratch.path, String(shards));
      writeRandomCheckpoint(dir, { config, seed: 3, shards });
      fingerprints.add((await ensure(dir, scratch.path)).fingerprint);
    }
    expect(fingerprints.size).toBe(1);
    expect([...fingerprints][0]).toMatch(/^[0-9a-f]{64}$/);
  });

  test("has the same bytes however many threads wrote it", async () => {
    using scratch = scratchDir();
    for (const quantization of ["q8", "f32"] as const) {
      const progress: number[] = [];
      const onProgress = ({ doneBytes }: { doneBytes: number }) => progress.push(doneBytes);
      const alone = await ensure(tiny, join(scratch.path, "alone"), { quantization, threads: 1 });
      const shared = await ensure(tiny, join(scratch.path, "shared"), { quantization, threads: 3, onProgress });
      expect(shared.fingerprint).toBe(alone.fingerprint);
      const [a, b] = [alone, shared].map(({ dir }) => readFileSync(join(dir, "weights.bin")));
      expect(a && b?.equals(a)).toBe(true);
      expect(progress.length).toBeGreaterThan(10);
    }
  });

  test("answers for an embedding that stays in the checkpoint, too", async () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen2-bias", scratch.path); // Its head is another matrix than its embedding.
    const before = (await ensure(dir, scratch.path)).fingerprint;
    const header = readFileSync(join(dir, "model.safetensors"));
    const json = JSON.parse(header.subarray(8, 8 + Number(header.readBigUInt64LE())).toString());
    const [, end] = json["model.embed_tokens.weight"].data_offsets;
    flipWeightBit(dir, header.length - (8 + Number(header.readBigUInt64LE()) + end) + 2);
    expect((await ensure(dir, scratch.path)).fingerprint).not.toBe(before);
  });

  const flipBit = (file: string) => {
    const bytes = readFileSync(file);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(file, bytes);
  };
  const replaceByFolder = (file: string) => {
    rmSync(file);
    mkdirSync(file);
  };
  const writeManifest = (dir: string, text: string) => writeFileSync(join(dir, "manifest.json"), text);
  const editManifest = (dir: string, edit: (text: string) => string) =>
    writeManifest(dir, edit(readFileSync(join(dir, "manifest.json"), "utf8")));
  const damage: [string, (dir: string) => void][] = [
    ["lacks its manifest", (dir) => rmSync(join(dir, "manifest.json"))],
    ["has a manifest that is no JSON", (dir) => writeFileSync(join(dir, "manifest.json"), "{")],
    ["has a manifest of something else", (dir) => writeFileSync(join(dir, "manifest.json"), "{}")],
    ["lacks its graph", (dir) => rmSync(join(dir, "model.onnx"))],
    ["has a wrong bit in its weights", (dir) => flipBit(join(dir, "weights.bin"))],
    ["has only half its weights", (dir) => truncateSync(join(dir, "weights.bin"), 4096)],
    ["has a wrong bit in its graph", (dir) => flipBit(join(dir, "model.onnx"))],
    ["has a folder in place of its weights", (dir) => replaceByFolder(join(dir, "weights.bin"))],
    ["has a folder in place of its manifest", (dir) => replaceByFolder(join(dir, "manifest.json"))],
    [
      "has a manifest that names a fingerprint and no files",
      (dir) => writeManifest(dir, '{"fingerprint":"deadbeef","files":{}}'),
    ],
    [
      "has a manifest with another digest",
      (dir) =>
        editManifest(dir, (text) =>
          text.replace(/"sha256":\["(.)/, (_, first) => `"sha256":["${first === "0" ? 1 : 0}`),
        ),
    ],
  ];
  test.each(damage)("is built anew when its folder %s", async (_, spoil) => {
    using scratch = scratchDir();
    const first = await ensure(golden("qwen3-tied"), scratch.path);
    const weights = readFileSync(join(first.dir, "weights.bin"));
    spoil(first.dir);
    expect(await ensure(golden("qwen3-tied"), scratch.path)).toEqual(first);
    expect(readFileSync(join(first.dir, "weights.bin")).equals(weights)).toBe(true);
    expect(enginesIn(scratch.path).length).toBe(1);
  });

  test("is not taken from another model's folder, whole as it is there", async () => {
    using scratch = scratchDir();
    const [one, other] = [
      await ensure(golden("qwen3-tied"), scratch.path),
      await ensure(golden("qwen2-bias"), scratch.path),
    ];
    for (const name of readdirSync(other.dir)) cpSync(join(other.dir, name), join(one.dir, name));
    expect(await ensure(golden("qwen3-tied"), scratch.path)).toEqual(one);
  });

  test("is for its user alone, whatever the umask", async () => {
    using scratch = scratchDir();
    const before = process.umask(0);
    try {
      const { dir } = await ensure(golden("qwen3-tied"), scratch.path);
      const modeOf = (path: string) => statSync(path).mode & 0o777;
      expect([dirname(dir), dir].map(modeOf)).toEqual([0o700, 0o700]);
      expect(readdirSync(dir).map((name) => modeOf(join(dir, name)))).toEqual([0o600, 0o600, 0o600]);
    } finally {
      process.umask(before);
    }
  });

  test("is whole when three processes build it at once", async () => {
    using scratch = scratchDir();
    const script = `
      import { readConfig } from "${join(import.meta.dir, "../../src/checkpoint/config.ts")}";
      import { ensureEngineFile } from "${join(import.meta.dir, "../../src/graph/engine-file.ts")}";
      const modelDir = "${join(import.meta.dir, "../../models/kakeya-tiny")}";
      await Bun.stdin.text(); // All start when all are there.
      const engine = await ensureEngineFile({ modelDir, config: readConfig(modelDir), quantization: "f32", cacheDir: "${scratch.path}" });
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

  test("of a process that was killed leaves a folder that the next one removes", async () => {
    using scratch = scratchDir();
    const script = `
      import { readConfig } from "${join(import.meta.dir, "../../src/checkpoint/config.ts")}";
      import { ensureEngineFile } from "${join(import.meta.dir, "../../src/graph/engine-file.ts")}";
      const modelDir = "${golden("qwen3-tied")}";
      await ensureEngineFile({ modelDir, config: readConfig(modelDir), quantization: "q8", cacheDir: "${scratch.path}",
        onProgress: () => process.kill(process.pid, "SIGKILL") });`;
    await Bun.spawn([process.execPath, "-e", script], { stderr: "ignore" }).exited;
    const [left = ""] = enginesIn(scratch.path);
    expect(left).toMatch(/\.part$/);

    await ensure(golden("qwen3-tied"), scratch.path);
    expect(enginesIn(scratch.path)).not.toContain(left);
    expect(enginesIn(scratch.path).length).toBe(1);
  });
});
