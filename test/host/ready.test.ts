import { expect, test } from "bun:test";
import fc from "fast-check";
import { readyAddress, readyJson, readySentence } from "../../src/host/ready.ts";

const engine = {
  modelId: "kakeya-tiny",
  quantization: "q8",
  kv: "f32",
  sink: 4,
  window: 64,
  kvBytesPerToken: 3072,
  capacity: 4,
  facts: { device: "cpu" },
  adapter: "",
} as const;

/** Output in pieces of `size` bytes. */
function output(text: string, size: number): ReadableStream<Uint8Array> {
  const bytes = Buffer.from(text);
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.subarray(at, at + size));
      controller.close();
    },
  });
}

test("a program reads the address whatever the model's name, and however the output arrives", async () => {
  const unit = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("\n", "\u202e", '"', " | at ", "é"));
  const names = fc.array(unit).map((parts) => parts.join(""));
  const addresses = fc.constantFrom("127.0.0.1:50051", "[::1]:1", "unix:/tmp/k.sock", "unix:/tmp/with blank/k.sock");
  await fc.assert(
    fc.asyncProperty(names, addresses, fc.integer({ min: 1, max: 300 }), async (modelId, address, size) => {
      const line = readyJson({ engine: { ...engine, modelId }, address });
      expect(JSON.parse(line)).toMatchObject({ ready: true, address, model: modelId, pid: process.pid });
      expect(line).not.toInclude("\n");
      expect(await readyAddress(output(`another line\n${line}\nmore\n`, size))).toBe(address);
    }),
    { seed: 1 },
  );
});

test("output that ends without readiness has no address", async () => {
  expect(await readyAddress(output("", 1))).toBeUndefined();
  expect(await readyAddress(output('{"ready":false,"address":"127.0.0.1:1"}\nkakeya\n', 9))).toBeUndefined();
});

test("people read what is served, where, what a session remembers, and what to try", () => {
  const sentence = readySentence(
    { engine: { ...engine, modelId: "odd\nname" }, address: "127.0.0.1:1" },
    "kakeya bench",
  );
  expect(sentence).toBe(
    "kakeya serves odd name q8 at 127.0.0.1:1 | 4 sessions, each remembers the first 4 and the last 64 tokens in 208896 KV bytes | try: kakeya bench",
  );
  const narrow = { ...engine, kv: "q8", kvBytesPerToken: 864 } as const;
  expect(readySentence({ engine: narrow, address: "127.0.0.1:1" }, "kakeya bench")).toInclude(
    "in 58752 KV bytes (8 bits) |",
  );
});

test("a GPU is named, to people and to programs", () => {
  const adapter = "Some GPU, Vulkan, driver 1.2";
  const ready = { engine: { ...engine, facts: { device: "gpu" }, adapter }, address: "a:1" } as const;
  expect(readySentence(ready, "try")).toInclude(` | on the GPU: ${adapter} | `);
  expect(JSON.parse(readyJson(ready))).toMatchObject({ device: "gpu", adapter });
  expect(JSON.parse(readyJson({ engine, address: "a:1" }))).toMatchObject({ device: "cpu", adapter: "" });
});
