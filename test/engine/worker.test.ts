import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type Engine, EngineCrashed } from "../../src/engine/engine.ts";
import { openEngine } from "../../src/engine/open.ts";
import { generateIds } from "./generating.ts";
import { modelDir } from "./models.ts";

const options = { model: modelDir("kakeya-tiny"), quantization: "q8", sink: 4, window: 64, capacity: 3 } as const;

/** An engine and its real worker, caught as it is started, so that a test can kill it. */
async function openWithWorker(): Promise<{ engine: Engine; worker: Worker }> {
  const Real = globalThis.Worker;
  let caught: Worker | undefined;
  globalThis.Worker = class extends Real {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      caught = this;
    }
  };
  try {
    const engine = await openEngine(options);
    if (!caught) throw new Error("no worker was started");
    return { engine, worker: caught };
  } finally {
    globalThis.Worker = Real;
  }
}

/** What a promise was rejected with. (bun:test's `rejects` waits without letting the worker's answers in.) */
async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing was refused");
}

describe("an engine in its worker", () => {
  const opened = openEngine(options);
  afterAll(async () => (await opened).close());

  test("says what it runs", async () => {
    const { info } = await opened;
    expect(info).toMatchObject({
      modelId: "kakeya-tiny",
      architecture: "Qwen3ForCausalLM",
      vocabSize: 2048,
      sink: 4,
      window: 64,
      block: 32,
      quantization: "q8",
      exact: true,
      kvBytesPerToken: 6 * 2 * 32 * 4 * 2,
      eosTokenIds: [2047],
      capacity: 3,
    });
    expect(info.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(info.kvSlabBytes).toBe(100 * info.kvBytesPerToken + 6 * 2 * 4 * 32 * 4);
  });

  test("counts what it holds and what it ran, past the window", async () => {
    const engine = await opened;
    const sequence = await engine.create();
    const state = await engine.append(
      sequence,
      Uint32Array.from({ length: 150 }, (_, i) => i),
    );
    expect(state).toEqual({
      position: 150,
      minRows: 68,
      maxRows: 68,
      liveBytes: 68 * engine.info.kvBytesPerToken,
      computedTokens: 150,
      finite: true,
    });
    const { last } = await generateIds(engine, sequence, 1);
    expect(last?.state.position).toBe(151);
    expect(await engine.state(sequence)).toEqual({ ...state, position: 151, computedTokens: 151 });
    await engine.free(sequence);
  });

  test("a damaged row shows in the counts", async () => {
    const engine = await opened;
    const sequence = await engine.create();
    await engine.append(sequence, Uint32Array.of(1, 2, 3, 4, 5));
    await engine.corrupt(sequence);
    expect(await engine.state(sequence)).toMatchObject({ minRows: 4, maxRows: 5 });
    await engine.free(sequence);
  });

  test("refuses by name what it can't do, and goes on", async () => {
    const engine = await opened;
    const sequences = await Promise.all([engine.create(), engine.create(), engine.create()]);
    expect((await failure(engine.create())).message).toContain("all 3 places are in use");
    expect((await failure(generateIds(engine, sequences[0] ?? 0, 1))).message).toContain("holds no token");
    expect((await failure(engine.append(sequences[0] ?? 0, Uint32Array.of(2048)))).message).toContain("token id 2048");
    expect((await failure(engine.append(sequences[0] ?? 0, new Uint32Array(0)))).message).toContain("no tokens");
    expect((await failure(engine.append(999, Uint32Array.of(1)))).message).toContain("there is no sequence 999");
    expect((await engine.append(sequences[0] ?? 0, Uint32Array.of(7))).position).toBe(1);
    for (const sequence of sequences) await engine.free(sequence);
  });

  test("the same seed and history give the same sampled ids; another seed gives others", async () => {
    const engine = await opened;
    const run = async (seed: bigint): Promise<number[]> => {
      const sequence = await engine.create();
      await engine.append(sequence, Uint32Array.of(400, 500, 600));
      const { ids } = await generateIds(engine, sequence, 40, { temperature: 5, topK: 0, topP: 1, seed });
      await engine.free(sequence);
      return ids;
    };
    const [first, again, other] = [await run(1n), await run(1n), await run(2n)];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });
});

describe("an engine whose worker dies", () => {
  test("fails the calls in flight and all later ones as crashed; the process lives and can open another", async () => {
    const { engine, worker } = await openWithWorker();
    const sequence = await engine.create();
    worker.postMessage(null); // no message of ours: the handler throws, uncaught
    const inFlight = engine.append(
      sequence,
      Uint32Array.from({ length: 5000 }, () => 1),
    );
    expect(await failure(inFlight)).toBeInstanceOf(EngineCrashed);
    expect(await failure(engine.state(sequence))).toBeInstanceOf(EngineCrashed);
    await engine.close();
    const next = await openEngine(options);
    expect(await next.create()).toBeGreaterThan(0);
    await next.close();
  });

  test("a worker that ends without a word is noticed as well", async () => {
    const { engine, worker } = await openWithWorker();
    const sequence = await engine.create();
    worker.terminate(); // it is idle: inside ONNX Runtime this would end the process
    expect(await failure(engine.state(sequence))).toBeInstanceOf(EngineCrashed);
    await engine.close();
  });

  test("a model that can't be loaded is the caller's error, not a crash", async () => {
    expect((await failure(openEngine({ ...options, model: "/no/such/model" }))).message).toContain("/no/such/model");
  });
});

describe("an engine that is closed", () => {
  test("answers the calls in flight first; then its worker ends by itself, and nothing else is answered", async () => {
    const { engine, worker } = await openWithWorker();
    worker.terminate = () => {
      throw new Error("a worker is never terminated: it may be inside ONNX Runtime, which aborts the process");
    };
    const ended = new Promise((resolve) => worker.addEventListener("close", resolve));
    const sequence = await engine.create();
    const inFlight = engine.append(sequence, new Uint32Array(1000));
    await Promise.all([engine.close(), engine.close()]);
    expect((await inFlight).position).toBe(1000);
    await ended;
    expect((await failure(engine.create())).message).toContain("the engine is closed");
    await engine.close();
  });

  test("a process that exits while its engine computes ends with its own exit code", async () => {
    const program = join(import.meta.dir, "exit-while-computing.ts");
    for (const delayMs of [0, 5, 20, 60]) {
      const child = Bun.spawn([process.execPath, program, String(delayMs)], { stderr: "pipe" });
      expect({ code: await child.exited, said: await new Response(child.stderr).text() }).toEqual({
        code: 7,
        said: "",
      });
    }
  });
});
