import { setInCEnvironment } from "./c-environment.ts";

/**
 * ONNX Runtime 1.29 and later reports to a Microsoft collector, and leaves a device id and a database in the temp
 * folder, unless ORT_DISABLE_TELEMETRY=1 stands in the C environment when the library loads. Windows' library has no
 * such reporting.
 */
setInCEnvironment({ ORT_DISABLE_TELEMETRY: "1" });
