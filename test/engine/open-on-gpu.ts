/** Opens an engine on the GPU, and prints what became of it. */
import { DeviceUnavailable } from "../../src/engine/engine.ts";
import { openEngine } from "../../src/engine/open.ts";
import { modelDir } from "./models.ts";

try {
  const options = { model: modelDir("qwen3-tied"), quantization: "f32", sink: 4, window: 64, capacity: 1 } as const;
  await (await openEngine({ ...options, device: "gpu" })).close();
  console.log(JSON.stringify({ opened: true }));
} catch (error) {
  const isUnavailable = error instanceof DeviceUnavailable;
  console.log(JSON.stringify({ isUnavailable, message: error instanceof Error ? error.message : String(error) }));
}
process.exit(0);
