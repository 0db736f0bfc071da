import { expect, test } from "bun:test";
import { GraphWriter } from "../../src/graph/onnx.ts";
import { InferenceSession, Tensor } from "../../src/ort/index.ts";
import { freeCopies } from "../../src/ort/output-copies.ts";

const size = 2 ** 20;
const doubling = async () => {
  const writer = new GraphWriter();
  writer.input({ name: "x", dtype: "float32", shape: [size] });
  writer.output({ name: "y", dtype: "float32", shape: [size] });
  writer.node("Add", ["x", "x"], "y");
  return InferenceSession.create(writer.finish());
};
const tensorOf = (value: number) => new Tensor("float32", new Float32Array(size).fill(value), [size]);

test("the copy of an output is freed, and the memory that the output was given holds it", async () => {
  const session = await doubling();
  const given = { y: tensorOf(0) };
  const results = await session.run({ x: tensorOf(3) }, given);
  const copy = results.y?.data;
  if (!(copy instanceof Float32Array)) throw new Error("the output has no floats");
  freeCopies(results, given);
  expect(copy.length).toBe(0);
  expect(given.y.data.length).toBe(size);
  expect(given.y.data.at(-1)).toBe(6);
  await session.release();
});

test("what a run handed out without a copy is left alone", () => {
  const given = { y: tensorOf(1) };
  freeCopies({ y: new Tensor("float32", given.y.data, [size]) }, given);
  expect(given.y.data.length).toBe(size);
});
