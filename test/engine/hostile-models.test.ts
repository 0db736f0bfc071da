/** Folders that are no model, or a trap. Each is refused with words before anything is read or allocated in proportion. */
import { describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { loadDir, modelDir } from "./models.ts";

/** A whole model that a test may spoil. */
function copyIn(scratch: { path: string }): string {
  const dir = join(scratch.path, "model");
  cpSync(modelDir("llama3-rope"), dir, { recursive: true });
  return dir;
}

async function refusal(dir: string): Promise<string> {
  return (await rejection(loadDir(dir, {}))).message;
}

const files = [
  "config.json",
  "generation_config.json",
  "tokenizer_config.json",
  "tokenizer.json",
  "model.safetensors",
  "model.safetensors.index.json",
];

describe.each(files)("A %s that is no regular file is refused without being read:", (name) => {
  function spoilt(scratch: { path: string }): { dir: string; file: string } {
    const dir = copyIn(scratch);
    const file = join(dir, name);
    rmSync(file, { force: true });
    if (name === "model.safetensors.index.json") rmSync(join(dir, "model.safetensors"));
    if (name === "tokenizer.json") writeFileSync(join(dir, "tokenizer_config.json"), '{"eos_token":"</s>"}');
    return { dir, file };
  }

  test("a FIFO", async () => {
    using scratch = scratchDir();
    const { dir, file } = spoilt(scratch);
    expect(Bun.spawnSync(["mkfifo", file]).exitCode).toBe(0);
    expect(await refusal(dir)).toContain(`${name}: is a FIFO, not a regular file`);
  });

  test("a link to /dev/zero", async () => {
    using scratch = scratchDir();
    const { dir, file } = spoilt(scratch);
    symlinkSync("/dev/zero", file);
    expect(await refusal(dir)).toContain(`${name}: is a device, not a regular file`);
  });

  test("a socket", async () => {
    using scratch = scratchDir();
    const { dir, file } = spoilt(scratch);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(file, resolve));
    expect(await refusal(dir)).toContain(`${name}: is a socket, not a regular file`);
    server.close();
  });

  test("a folder", async () => {
    using scratch = scratchDir();
    const { dir, file } = spoilt(scratch);
    mkdirSync(file);
    expect(await refusal(dir)).toContain(`${name}: is a directory, not a regular file`);
  });
});

test.each([
  ["config.json", 2 ** 40],
  ["generation_config.json", 2 ** 40],
])("A %s of a terabyte is refused by its size", async (name, bytes) => {
  using scratch = scratchDir();
  const dir = copyIn(scratch);
  writeFileSync(join(dir, name), "{}");
  truncateSync(join(dir, name), bytes); // A file with a hole: it takes no space.
  expect(await refusal(dir)).toMatch(new RegExp(`${name}: takes ${bytes} bytes, more than`));
});

test.each([
  ["num_hidden_layers", /tensor model\.layers\.\d+\.input_layernorm\.weight is in none of the weight files/],
  ["head_dim", /config\.json: head_dim is 1000000000, above 65536/],
  ["hidden_size", /tensor model\.embed_tokens\.weight has the shape .*config\.json asks for/],
  ["vocab_size", /tensor model\.embed_tokens\.weight has the shape .*config\.json asks for/],
  ["intermediate_size", /tensor .*gate_proj\.weight has the shape .*config\.json asks for/],
  ["num_attention_heads", /tensor .*q_proj\.weight has the shape .*config\.json asks for/],
])("A config.json whose %s is 1,000,000,000 is compared with the weights first", async (field, message) => {
  using scratch = scratchDir();
  const dir = copyIn(scratch);
  const file = join(dir, "config.json");
  const config = { head_dim: 16, ...JSON.parse(readFileSync(file, "utf8")), [field]: 1_000_000_000 };
  writeFileSync(file, JSON.stringify(config));
  expect(await refusal(dir)).toMatch(message);
});
