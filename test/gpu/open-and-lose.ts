/** Loses its GPU in the middle of a generation, and prints what became of the calls in flight and of a later one. */
import { writeFileSync } from "node:fs";
import { greedy } from "../../src/engine/engine.ts";
import { openEngine } from "../../src/engine/open.ts";
import { modelDir } from "../engine/models.ts";

const when = process.env.LOSE_DEVICE_WHEN;
if (when === undefined) throw new Error("this process can't lose its GPU");
const said = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (error: Error) => `${error.name}: ${error.message}`,
  );

const options = { model: modelDir("qwen3-tied"), quantization: "f32", sink: 4, window: 40, capacity: 2 } as const;
const engine = await openEngine({ ...options, device: "gpu" });
const [generating, appending] = [await engine.create(), await engine.create()];
await engine.append(generating, Uint32Array.of(1, 2, 3));
const request = { sampling: greedy, maxTokens: 1000, eosTokenIds: [] };
const generation = engine.generate(generating, request, () => writeFileSync(when, ""));
generation.allow(1000);
const inFlight = [generation.ended, engine.append(appending, new Uint32Array(5000))];
const outcomes = await Promise.all(inFlight.map(said));
const later = await said(engine.create());
await engine.close();
console.log(JSON.stringify({ outcomes, later, crashed: engine.crashed.aborted }));
process.exit(0);
