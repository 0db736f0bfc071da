import { expect, test } from "bun:test";
import { join } from "node:path";
import { openEngine } from "../../src/engine/open.ts";
import { presets, writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";
import { editTensor } from "../checkpoint/edit-tensor.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { serving } from "./serving.ts";

/** A model of finite weights whose feed forward overflows at one token, and computes numbers at all others. */
function modelThatOverflowsAt(dir: string, token: number): void {
  writeRandomCheckpoint(dir, { config: presets["llama-multi-head"] ?? {}, seed: 5, dtype: "F32" });
  const column0 = (value: (row: number) => number) => (values: Float32Array, columns: number) => {
    for (let row = 0; row * columns < values.length; row++) values[row * columns] = value(row);
  };
  const layer = "model.layers.0";
  editTensor(
    dir,
    "model.embed_tokens.weight",
    column0((id) => (id === token ? 1 : 0)),
  );
  editTensor(dir, `${layer}.self_attn.o_proj.weight`, (values, columns) => values.fill(0, 0, columns));
  for (const part of ["gate_proj", "up_proj"])
    editTensor(
      dir,
      `${layer}.mlp.${part}.weight`,
      column0(() => 1e30),
    );
}

test("A session whose logits are no numbers ends with words, and the others go on", async () => {
  using scratch = scratchDir();
  const model = join(scratch.path, "model");
  const overflowing = 300;
  modelThatOverflowsAt(model, overflowing);
  const engine = await openEngine({ model, quantization: "f32", sink: 4, window: 64, capacity: 2 });
  await using _closing = { [Symbol.asyncDispose]: () => engine.close() };
  await using server = await serving({ engine });
  const client = server.connect();
  const [sound, alone] = [await client.createSession(), await client.createSession()];
  await sound.append([1, 2, 3]);
  await alone.append([1, 2, 3]);
  const before = await Array.fromAsync(alone.generate({ maxTokens: 8 }));
  await alone.close();

  const broken = await client.createSession();
  await broken.append([1, 2, 3]);
  const stream = sound.generate({ maxTokens: 8 });
  const first = await stream.next();
  expect((await rejection(broken.append([overflowing, 4]))).message).toContain("logits that are not finite numbers");
  expect((await rejection(broken.append([1]))).message).toContain("no session");
  expect([first.value, ...(await Array.fromAsync(stream))]).toEqual(before);
  expect(server.logged.join("")).toMatch(/session ended .*outcome="failed"/);
});

test("An answer that comes to such a token ends with words, not with id 0 for ever", async () => {
  using scratch = scratchDir();
  const model = join(scratch.path, "model");
  modelThatOverflowsAt(model, 0);
  editTensor(model, "model.norm.weight", (values) => values.fill(0)); // all logits are 0, and id 0 is the first of them
  const engine = await openEngine({ model, quantization: "f32", sink: 4, window: 64, capacity: 2 });
  await using _closing = { [Symbol.asyncDispose]: () => engine.close() };
  await using server = await serving({ engine });
  const client = server.connect();
  for (const sampling of [{}, { temperature: 1e-3, topK: 1, seed: 1n }]) {
    const session = await client.createSession();
    await session.append([1, 2, 3]);
    const ids: number[] = [];
    const answer = async () => {
      for await (const id of session.generate({ maxTokens: 8, ...sampling })) ids.push(id);
    };
    expect((await rejection(answer())).message).toContain("logits that are not finite numbers");
    expect(ids.length).toBeLessThan(2);
    expect((await rejection(session.append([1]))).message).toContain("no session");
  }
});
