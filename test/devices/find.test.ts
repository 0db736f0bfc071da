import { expect, test } from "bun:test";
import { byPreference } from "../../src/devices/adapter.ts";
import { findAdapters } from "../../src/devices/find.ts";
import type { Trial } from "../../src/devices/trial.ts";

/** In the place of kakeya, a process in which the driver does what `script` says. */
const driverThat = (script: string) => [process.execPath, "-e", script];

const adapter = { name: "Some GPU", kind: "discrete", backend: "Vulkan", driver: "some 1.2" } as const;
const answer = (trial: Trial) => `console.log(${JSON.stringify(JSON.stringify(trial))});`;

test("what a driver prints on the way spoils nothing", async () => {
  const script = `console.log("MESA: hello"); console.error("error: XDG_RUNTIME_DIR is invalid"); ${answer({
    adapters: [{ ...adapter, problem: null }],
    problem: null,
  })}`;
  const { adapters, problem } = await findAdapters(driverThat(script));
  expect(problem).toBeNull();
  expect(adapters[0]).toMatchObject({ ...adapter, problem: null });
});

test("a driver that crashes takes nothing along but itself, and is reported", async () => {
  const crash = `console.error("double free"); process.kill(process.pid, "SIGSEGV"); await new Promise(() => {});`;
  const { adapters, problem } = await findAdapters(driverThat(crash));
  expect(adapters[0]?.problem).toBe("trying it was ended by SIGSEGV: double free");
  expect(problem).toContain("trying it was ended by SIGSEGV: double free");
  expect(problem).toContain("use --device cpu");
});

test("a driver that hangs is ended, and reported", async () => {
  const { problem } = await findAdapters(driverThat("setInterval(() => {}, 1000)"), 0.1);
  expect(problem).toContain("trying it was ended by SIGKILL, after 0.1 s at most");
});

test("an adapter that WebGPU refuses says why, in Dawn's own words", async () => {
  const failed = "Failed to get a WebGPU adapter: No supported adapters";
  const script = `console.error("Warning: Vulkan shaderUniform*ArrayDynamicIndexing required.\\n - While initializing adapter (backend=BackendType::Vulkan)\\n    at InitializeImpl");
    ${answer({ adapters: [{ ...adapter, problem: failed }], problem: null })}`;
  const { problem } = await findAdapters(driverThat(script));
  expect(problem).toStartWith(
    "Some GPU can't be used (WebGPU refuses it: Vulkan shaderUniform*ArrayDynamicIndexing required): ",
  );
});

test("a GPU of its own is preferred to one in the processor, and that to none", () => {
  const kinds = (["software", "integrated", "other", "discrete", "virtual"] as const).map((kind) => ({
    ...adapter,
    kind,
  }));
  expect(byPreference(kinds).map(({ kind }) => kind)).toEqual([
    "discrete",
    "integrated",
    "software",
    "virtual",
    "other",
  ]);
});
