import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { scratchDir } from "../scratch.ts";

const door = JSON.stringify(join(import.meta.dir, "../../src/ort/index.ts"));
const plain = JSON.stringify("onnxruntime-node");

/** Starts ONNX Runtime in a process of its own and lists what that leaves in the temporary folder. */
async function leftBehind(module: string): Promise<string[]> {
  using scratch = scratchDir();
  const script = `const { InferenceSession } = await import(${module});
    await InferenceSession.create(new Uint8Array(8)).catch(() => console.log("no model"));`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    cwd: import.meta.dir,
    // Nothing else: it also keeps quiet where CI or GITHUB_ACTIONS is set.
    env: { TMPDIR: scratch.path, HOME: scratch.path },
    stderr: "ignore",
  });
  expect(await new Response(child.stdout).text()).toContain("no model");
  await child.exited;
  return readdirSync(scratch.path).filter((name) => !name.startsWith(".bun"));
}

test("ONNX Runtime reports to nobody: it leaves no trace of its telemetry in the temporary folder", async () => {
  expect(await leftBehind(door)).toEqual([]);
});

test.if(process.platform === "linux")("by itself it would: that is what the test above would see", async () => {
  expect(await leftBehind(plain)).not.toEqual([]);
});
