import { describe, expect, test } from "bun:test";
import { JsonFields } from "../../src/checkpoint/json-file.ts";
import { readInverseFrequencies } from "../../src/checkpoint/rope.ts";

const frequencies = (config: Record<string, unknown>, headDim = 16) =>
  readInverseFrequencies(new JsonFields("config.json", config), headDim);

/** Relative distance, so that the small frequencies count as much as the large ones. */
function expectClose(actual: Float64Array, expected: number[]) {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs((actual[i] ?? 0) / value - 1)).toBeLessThan(1e-12);
  });
}

describe("Inverse frequencies", () => {
  test("are theta^(-2i/headDim), wherever theta stands", () => {
    const expected = [1, 0.1, 0.01, 0.001];
    expectClose(frequencies({ rope_theta: 10_000 }, 8), expected);
    expectClose(frequencies({}, 8), expected);
    expectClose(frequencies({ rope_parameters: { rope_type: "default", rope_theta: 10_000 } }, 8), expected);
    expectClose(frequencies({ rope_theta: 7, rope_parameters: { rope_theta: 10_000 } }, 8), expected);
    expectClose(frequencies({ rope_theta: 10_000, rope_scaling: null }, 8), expected);
  });

  test("with linear scaling are divided by the factor, under both names of the field", () => {
    const expected = [0.25, 0.025, 0.0025, 0.00025];
    expectClose(frequencies({ rope_scaling: { type: "linear", factor: 4 } }, 8), expected);
    expectClose(frequencies({ rope_scaling: { rope_type: "linear", factor: 4 } }, 8), expected);
  });

  test("with llama3 scaling are those of the oracle", () => {
    const scaling = { factor: 8, high_freq_factor: 4, low_freq_factor: 1, original_max_position_embeddings: 256 };
    expectClose(
      frequencies({ rope_parameters: { ...scaling, rope_type: "llama3", rope_theta: 500_000 } }),
      llama3Golden,
    );
  });

  test("with llama3 scaling need all four numbers, in order", () => {
    const scaling = { rope_type: "llama3", factor: 8, low_freq_factor: 1, original_max_position_embeddings: 256 };
    expect(() => frequencies({ rope_scaling: scaling })).toThrow("rope_scaling.high_freq_factor is missing");
    expect(() => frequencies({ rope_scaling: { ...scaling, high_freq_factor: 1 } })).toThrow(
      "rope_scaling.high_freq_factor is 1, not above low_freq_factor 1",
    );
  });
});

/** inverse_frequencies of the float64 oracle for golden/llama3-rope. */
const llama3Golden = [
  1.0, 0.19392274474868576, 0.010538232746455323, 0.0009115830921521386, 0.00017677669529663688, 3.428102195952591e-5,
  6.647869871181236e-6, 1.2891731721515574e-6,
];
