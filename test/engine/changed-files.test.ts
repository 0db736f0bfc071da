/** What happens to an engine when somebody writes to, replaces or cuts off the files that it reads. */
import { describe, expect, spyOn, test } from "bun:test";
import { cpSync, readFileSync, renameSync, statSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheRoot } from "../../src/cache/folder.ts";
import { openCheckpoint } from "../../src/checkpoint/safetensors.ts";
import { type Engine, EngineCrashed, greedy } from "../../src/engine/engine.ts";
import { openEngine } from "../../src/engine/open.ts";
import { presets, writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";
import { enginesIn, ensure } from "../graph/engine-files.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { generateIds } from "./generating.ts";
import { loadDir, modelDir } from "./models.ts";

async function idsOf(engine: Engine): Promise<number[]> {
  const sequence = await engine.create();
  await engine.append(sequence, Uint32Array.of(1, 2, 3));
  return (await generateIds(engine, sequence, 8)).ids;
}

/** What a script prints in a process of its own, with a cache of its own. */
async function linesOf(scratch: { path: string }, script: string): Promise<string[]> {
  const child = Bun.spawn([process.execPath, "-e", script], {
    env: { ...process.env, KAKEYA_CACHE_DIR: scratch.path },
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  return text.trimEnd().split("\n");
}

describe("While a checkpoint is served,", () => {
  async function serving(scratch: { path: string }): Promise<{ engine: Engine; file: string }> {
    const model = join(scratch.path, "model");
    cpSync(modelDir("llama3-rope"), model, { recursive: true });
    const engine = await openEngine({ model, quantization: "q8", sink: 4, window: 64, capacity: 2 });
    return { engine, file: join(model, "model.safetensors") };
  }

  /** The file's bytes with other embeddings. */
  function otherRows(file: string): Buffer {
    const bytes = readFileSync(file);
    const tensor = openCheckpoint(join(file, "..")).tensors.get("model.embed_tokens.weight");
    bytes.fill(0x3c, tensor?.offset, (tensor?.offset ?? 0) + (tensor?.elements ?? 0));
    return bytes;
  }

  test("overwriting it in place ends the engine with words, before a single other id", async () => {
    using scratch = scratchDir();
    const { engine, file } = await serving(scratch);
    const sequence = await engine.create();
    await engine.append(sequence, Uint32Array.of(1, 2, 3));
    writeFileSync(file, otherRows(file));
    const error = await rejection(generateIds(engine, sequence, 1));
    expect(error).toBeInstanceOf(EngineCrashed);
    expect(error.message).toMatch(/model\.safetensors: was changed while it was in use\. .* start again/);
    expect(engine.crashed.reason).toBe(error);
    expect(await rejection(engine.create())).toBe(error);
    await engine.close();
  });

  test("cutting it off ends the engine with the same words", async () => {
    using scratch = scratchDir();
    const { engine, file } = await serving(scratch);
    truncateSync(file, 1000);
    const error = await rejection(idsOf(engine));
    expect(error).toBeInstanceOf(EngineCrashed);
    expect(error.message).toMatch(/model\.safetensors: was changed while it was in use\. .* start again/);
    expect(engine.crashed.reason).toBe(error);
    await engine.close();
  });

  test("no generation of a shared step gets another id either", async () => {
    using scratch = scratchDir();
    const { engine, file } = await serving(scratch);
    await engine.close();
    const core = await loadDir(dirname(file), { capacity: 2 });
    const sequences = [await core.create(), await core.create()];
    for (const sequence of sequences) await core.append(sequence, Uint32Array.of(1, 2, 3));
    writeFileSync(file, otherRows(file));
    const told: unknown[] = [];
    const request = { sampling: greedy, maxTokens: 8, eosTokenIds: [] };
    const generations = sequences.map((sequence) => core.generate(sequence, request, (step) => told.push(step)));
    for (const generation of generations) generation.allow(8);
    const ends = await Promise.all(generations.map(({ ended }) => rejection(ended)));
    expect(ends.map(({ name }) => name)).toEqual(["ModelChanged", "ModelChanged"]);
    expect(told).toEqual([]);
    await core.close();
  });

  test("touching it changes nothing", async () => {
    using scratch = scratchDir();
    const { engine, file } = await serving(scratch);
    const before = await idsOf(engine);
    utimesSync(file, new Date(), new Date());
    expect(await idsOf(engine)).toEqual(before);
    await engine.close();
  });

  test("another file under its name is the next start's business", async () => {
    using scratch = scratchDir();
    const { engine, file } = await serving(scratch);
    const before = await idsOf(engine);
    writeFileSync(`${file}.new`, otherRows(file));
    renameSync(`${file}.new`, file);
    expect(await idsOf(engine)).toEqual(before);
    await engine.close();
  });
});

test.each(["q8", "q4", "f32"])("A weights.bin (%s) that is cut off while it is mapped kills nobody", async (quant) => {
  using scratch = scratchDir();
  const script = `
    import { readdirSync, truncateSync } from "node:fs";
    import { generateIds } from "${join(import.meta.dir, "generating.ts")}";
    import { EngineCore } from "${join(import.meta.dir, "../../src/engine/core.ts")}";
    import { loadBackend } from "${join(import.meta.dir, "../../src/engine/load.ts")}";
    const options = { quantization: "${quant}", sink: 4, capacity: 1, threads: 1 };
    const { backend, info, dir } = await loadBackend(options, () => {});
    const core = new EngineCore(backend, info);
    const ids = async () => {
      const sequence = await core.create();
      await core.append(sequence, Uint32Array.from({ length: 40 }, (_, i) => i));
      const { ids } = await generateIds(core, sequence, 40);
      await core.free(sequence);
      return ids.join();
    };
    const before = await ids();
    truncateSync(dir + "/weights.bin", 0);
    console.log(before === await ids());`;
  expect(await linesOf(scratch, script)).toEqual(["true"]);
});

describe("Damage in an engine file of which a start looks at a sample", () => {
  const config = { hidden_size: 256, intermediate_size: 1024, num_hidden_layers: 4, vocab_size: 2000 };

  /** A model whose float32 weights take 19 MB. */
  function largeModel(scratch: { path: string }, seed: number): string {
    const dir = join(scratch.path, "model");
    writeRandomCheckpoint(dir, { config: { ...presets["llama-multi-head"], ...config }, seed });
    return dir;
  }

  test("is found in the background, ends the engine with words, and is gone after the next start", async () => {
    using scratch = scratchDir();
    const model = largeModel(scratch, 11);
    const [before = "", reason = "", refused, after, mended] = await linesOf(
      scratch,
      `
      import { readdirSync, readFileSync, writeFileSync } from "node:fs";
      import { openEngine } from "${join(import.meta.dir, "../../src/engine/open.ts")}";
      const options = { model: "${model}", quantization: "f32", sink: 4, window: 64, capacity: 1, threads: 1 };
      const engine = await openEngine(options);
      const engines = "${scratch.path}/engines/";
      const file = engines + readdirSync(engines)[0] + "/weights.bin";
      const whole = readFileSync(file);
      const damaged = Buffer.from(whole);
      damaged[damaged.length - 100] ^= 1;
      writeFileSync(file, damaged);
      if (!engine.crashed.aborted) await new Promise((resolve) => (engine.crashed.onabort = resolve));
      console.log(engine.info.fingerprint);
      console.log(engine.crashed.reason.message);
      console.log(await engine.create().catch((error) => error === engine.crashed.reason));
      await engine.close();
      const next = await openEngine(options);
      console.log(next.info.fingerprint);
      console.log(readFileSync(file).equals(whole));
      process.exit();`,
    );
    expect(reason).toMatch(/weights\.bin is not what it was .* the next start builds it again/);
    expect(refused).toBe("true");
    expect(after).toBe(before);
    expect(mended).toBe("true");
  });

  test("that makes NaNs, and that the sample misses, is found at load and mended", async () => {
    using scratch = scratchDir();
    const model = largeModel(scratch, 12);
    const { dir, fingerprint } = await ensure(model, cacheRoot(), { quantization: "f32" });
    const file = join(dir, "weights.bin");
    const { atime, mtime } = statSync(file);
    const whole = readFileSync(file);
    const damaged = Buffer.from(whole);
    new Float32Array(damaged.buffer, damaged.byteOffset + 2 ** 20, (damaged.length - 2 ** 20) / 4).fill(Number.NaN);
    writeFileSync(file, damaged);
    utimesSync(file, atime, mtime);

    const random = spyOn(Math, "random").mockReturnValue(0); // the first piece only
    const core = await loadDir(model, { quantization: "f32" }).finally(() => random.mockRestore());
    expect(core.info).toMatchObject({ fingerprint, exact: true });
    expect(readFileSync(file).equals(whole)).toBe(true);
    await core.close();
    expect(enginesIn(cacheRoot()).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});
