/**
 * Whether a model can run on the adapters of one driver: only a session says so. For a process of its own, which a driver
 * may end, hang or fill with what it prints.
 */

import { GraphWriter } from "../graph/onnx.ts";
import { setDriverEnvironment } from "../ort/driver-environment.ts";
import { failureOf } from "../ort/failure.ts";
import { type Adapter, byPreference, type TriedAdapter } from "./adapter.ts";
import { macAdapters } from "./mac.ts";
import { NoVulkan, vulkanAdapters } from "./vulkan.ts";

/** What stands for the manifest of a driver where there is none to choose: macOS, or a Vulkan library of unusual folders. */
export const anyDriver = "any";

export interface Trial {
  adapters: TriedAdapter[];
  /** Why there are none; null when there are. */
  problem: string | null;
}

/** @param manifest of the driver, or `anyDriver` */
export async function tryDriver(manifest: string): Promise<Trial> {
  setDriverEnvironment(manifest === anyDriver ? undefined : manifest);
  const { listSupportedBackends } = await import("../ort/index.ts");
  const hasProvider = listSupportedBackends().some(({ name }) => name === "webgpu");
  const missing = hasProvider ? null : `kakeya can't use GPUs on ${process.platform}-${process.arch}`;
  const { adapters, problem } = listed();
  if (adapters.length === 0) return { adapters: [], problem: missing ?? problem ?? "its driver finds no GPU" };
  const failure = missing ?? (await sessionProblem());
  const [taken] = byPreference(adapters);
  const passedOver = `ONNX Runtime takes another adapter of the same driver, ${taken?.name}`;
  const tried = adapters.map((adapter) => ({
    ...adapter,
    problem: failure ?? (adapter === taken ? null : passedOver),
  }));
  return { adapters: tried, problem: null };
}

function listed(): { adapters: Adapter[]; problem: string | null } {
  try {
    return { adapters: process.platform === "darwin" ? macAdapters() : vulkanAdapters(), problem: null };
  } catch (error) {
    if (error instanceof NoVulkan) return { adapters: [], problem: error.message };
    throw error;
  }
}

/** Why ONNX Runtime can't compute on a GPU in this process; null when it just did. */
async function sessionProblem(): Promise<string | null> {
  const { InferenceSession, Tensor } = await import("../ort/index.ts");
  const writer = new GraphWriter();
  writer.input({ name: "x", dtype: "float32", shape: [4, 4] });
  writer.output({ name: "y", dtype: "float32", shape: [4, 4] });
  writer.node("MatMul", ["x", "x"], "y");
  try {
    const session = await InferenceSession.create(writer.finish(), { executionProviders: ["webgpu"] });
    const { y } = await session.run({ x: new Tensor("float32", new Float32Array(16).fill(2), [4, 4]) });
    const isRight = y !== undefined && Array.from(y.data, Number).every((sum) => sum === 4 * 2 * 2);
    return isRight ? null : "it computes wrong results";
  } catch (error) {
    return failureOf(error);
  }
}
