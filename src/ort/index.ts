// The one import of onnxruntime-node. Telemetry must be off before the library loads, so the order matters.
import "./telemetry.ts";

// By name: with code splitting, `export *` of this CommonJS package exports nothing.
export { env, InferenceSession, listSupportedBackends, Tensor } from "onnxruntime-node";
