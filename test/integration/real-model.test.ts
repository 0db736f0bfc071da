/**
 * The promises, kept by a real model: set KAKEYA_INTEGRATION_MODEL to a Hugging Face directory or to an id in the
 * local hub cache, Qwen/Qwen3-0.6B for example. Nothing is downloaded. Without it these tests are skipped.
 * KAKEYA_INTEGRATION_DEVICES says on what: "cpu" (the default), "gpu" or "cpu,gpu".
 * The bench's reports go to the folder KAKEYA_INTEGRATION_RESULTS: bench-cpu.json, bench-gpu.json.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Client, Session } from "../../src/client/index.ts";
import type { Device, Engine, EngineInfo } from "../../src/engine/engine.ts";
import { openEngine } from "../../src/engine/open.ts";
import { type Serving, serving } from "../serve/serving.ts";

const model = process.env.KAKEYA_INTEGRATION_MODEL;
const results = process.env.KAKEYA_INTEGRATION_RESULTS ?? join(tmpdir(), "kakeya-integration");
const devices = (process.env.KAKEYA_INTEGRATION_DEVICES ?? "cpu").split(",").map(deviceNamed);
const minuteMs = 60_000;

function deviceNamed(name: string): Device {
  if (name === "cpu" || name === "gpu") return name;
  throw new Error(`KAKEYA_INTEGRATION_DEVICES has "${name}": it takes cpu, gpu or cpu,gpu`);
}

describe.skipIf(model === undefined).each(devices)(`with ${model ?? "a real model"} on the %s`, (device) => {
  let engine: Engine;
  let server: Serving;
  let client: Client;
  let info: EngineInfo;
  beforeAll(async () => {
    engine = await openEngine({ model: model ?? "", device, quantization: "q8", sink: 4, window: 64, capacity: 4 });
    info = engine.info;
    server = await serving({ engine });
    client = server.connect();
  }, 20 * minuteMs);
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await engine.close();
  });

  /** Ids of no meaning, the same at every run. */
  const history = (length: number) => Array.from({ length }, (_, i) => (i * 7919 + 11) % info.vocabSize);

  async function continued(session: Session, maxTokens: number): Promise<number[]> {
    const ids: number[] = [];
    for await (const id of session.generate({ maxTokens })) ids.push(id);
    return ids;
  }

  test("the kernels of this machine give the same bits for one row and for many", () => {
    expect(info.exact).toBe(true);
  });

  test(
    "however a history was appended, far past the window, it continues with the same ids",
    async () => {
      const tokens = history(500);
      const continuations = [];
      for (const size of [500, 1, 33]) {
        const session = await client.createSession();
        for (let at = 0; at < tokens.length; at += size) await session.append(tokens.slice(at, at + size));
        continuations.push(await continued(session, 64));
        await session.close();
      }
      expect(continuations[1]).toEqual(continuations[0] ?? []);
      expect(continuations[2]).toEqual(continuations[0] ?? []);
    },
    20 * minuteMs,
  );

  test(
    "a session's memory and work are those of its cache and its own tokens, at any length",
    async () => {
      const session = await client.createSession();
      for (let length = 100; length <= 1000; length += 100) {
        await session.append(history(100));
        const state = await session.info();
        expect(state.kvLiveBytes).toBe(Math.min(length, info.sink + info.window) * info.kvBytesPerToken);
        expect(state.kvSlabBytes).toBe(info.kvSlabBytes);
        expect(state.computedTokens).toBe(length);
      }
      await session.close();
    },
    20 * minuteMs,
  );

  test(
    "sixty turns of the bench leave every gate that counts at pass",
    async () => {
      mkdirSync(results, { recursive: true });
      const main = resolve(import.meta.dir, "../../src/main.ts");
      const options = ["--turns", "60", "--turn-spacing", "0", "--output", join(results, `bench-${device}.json`)];
      const command = [
        process.execPath,
        main,
        "bench",
        "--model",
        model ?? "",
        "--device",
        device,
        ...options,
        "--json",
      ];
      const bench = Bun.spawn(command, { stderr: "inherit" });
      const { gates } = JSON.parse(await new Response(bench.stdout).text());
      for (const counted of ["memory", "work", "invariants", "errors"]) expect(gates[counted].verdict).toBe("pass");
      await bench.exited;
    },
    60 * minuteMs,
  );
});
