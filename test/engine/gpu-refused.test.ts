/** What the engine says where a GPU can't be had: tried in a process of its own, whose driver is a file that isn't there. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { DeviceUnavailable } from "../../src/engine/engine.ts";
import { whyNot } from "../../src/engine/gpu-session.ts";
import { rejection } from "../rejection.ts";
import { loadCore } from "./models.ts";

test.skipIf(process.platform === "darwin")(
  "without an adapter the engine is refused as such through its worker, says what to do, and the process lives",
  async () => {
    const program = join(import.meta.dir, "open-on-gpu.ts");
    const noDriver = { VK_ICD_FILENAMES: "/no/such/driver.json", VK_DRIVER_FILES: "/no/such/driver.json" };
    const child = Bun.spawn([process.execPath, program], { env: { ...process.env, ...noDriver }, stderr: "ignore" });
    const said: unknown = JSON.parse(await new Response(child.stdout).text());
    expect(await child.exited).toBe(0);
    expect(said).toEqual({ isUnavailable: true, message: expect.stringContaining("use --device cpu") });
  },
);

test("a cache of 8 bits is refused on a GPU before anything is loaded", async () => {
  const error = await rejection(loadCore("kakeya-tiny", { device: "gpu", kv: "q8" }));
  expect(error.message).toContain("a cache of 8 bits is computed by integer products, which");
  expect(error.message).toContain("use --kv f32");
});

test.each([
  ["webgpu_context.cc:136 ... Failed to get a WebGPU adapter: No supported adapters", "no GPU was found"],
  ["Failed to create buffer: Out of memory", "too little memory for the model and its sessions: lower --capacity"],
  ["something else", "the GPU can't run this model: something else"],
])("%s", (said, words) => {
  const error = whyNot(new Error(said));
  expect(error).toBeInstanceOf(DeviceUnavailable);
  expect(error.message).toContain(words);
  expect(error.message).toContain("use --device cpu");
});
