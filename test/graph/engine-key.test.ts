import { expect, test } from "bun:test";
import { closeSync, openSync, statSync, truncateSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../src/checkpoint/config.ts";
import { engineKey } from "../../src/graph/engine-key.ts";
import { scratchDir } from "../scratch.ts";

const config = readConfig(join(import.meta.dir, "../golden/qwen3-tied"));

test("An engine's key changes with the builder's version, the quantization, the configuration and the files", () => {
  using scratch = scratchDir();
  const file = join(scratch.path, "model.safetensors");
  writeFileSync(file, "weights");
  const theta = { ...config, inverseFrequencies: config.inverseFrequencies.map((f) => f / 2) };
  const keys = [
    engineKey(config, "q8", "1", [file]),
    engineKey(config, "q8", "2", [file]),
    engineKey(config, "q4", "1", [file]),
    engineKey(theta, "q8", "1", [file]),
    engineKey(config, "q8", "1", [file, file]),
  ];
  expect(new Set(keys).size).toBe(keys.length);
  expect(engineKey({ ...config }, "q8", "1", [file])).toBe(keys[0] ?? "");
});

test("A small file's key is its content: a copy has the same, whenever it was made", () => {
  using scratch = scratchDir();
  const file = join(scratch.path, "model.safetensors");
  writeFileSync(file, "weights");
  const key = engineKey(config, "q8", "1", [file]);
  utimesSync(file, 1, 1);
  expect(engineKey(config, "q8", "1", [file])).toBe(key);
  writeFileSync(file, "Weights");
  expect(engineKey(config, "q8", "1", [file])).not.toBe(key);
});

test("A large file's key changes with its time, its size, and bytes at its beginning or end", () => {
  using scratch = scratchDir();
  const file = join(scratch.path, "model.safetensors");
  const keyAfter = (change: () => void, time: number) => {
    change();
    utimesSync(file, time, time);
    return engineKey(config, "q8", "1", [file]);
  };
  const poke = (position: number) => {
    const fd = openSync(file, "r+");
    writeSync(fd, "x", position);
    closeSync(fd);
  };
  const size = 40 << 20;
  writeFileSync(file, "");
  const first = keyAfter(() => truncateSync(file, size), 1000);
  expect(keyAfter(() => {}, 1000)).toBe(first);
  const keys = [
    first,
    keyAfter(() => {}, 1001),
    keyAfter(() => poke(0), 1001),
    keyAfter(() => poke(statSync(file).size - 1), 1001),
    keyAfter(() => truncateSync(file, size + 1), 1001),
  ];
  expect(new Set(keys).size).toBe(keys.length);
});
