import { failureOf } from "../ort/failure.ts";
import { InferenceSession, listSupportedBackends, type Tensor } from "../ort/index.ts";
import { gpuSessionOptions, type OutputPlace } from "../ort/session-options.ts";
import { DeviceFailed, DeviceUnavailable } from "./engine.ts";

const useProcessor = "or use --device cpu";

/** A graph on the GPU. What the GPU or its driver can't do is an error that says so, and what to do. */
export class GpuSession {
  private constructor(private readonly session: InferenceSession) {}

  /**
   * @param model a file, or the bytes of one without weights
   * @param outputs where each output goes; absent: all come to this process
   * @throws DeviceUnavailable when the graph can't run on a GPU here
   */
  static async create(
    model: string | Uint8Array,
    outputs?: Readonly<Record<string, OutputPlace>>,
  ): Promise<GpuSession> {
    requireProvider();
    const options = gpuSessionOptions(outputs);
    try {
      const session =
        typeof model === "string" ? InferenceSession.create(model, options) : InferenceSession.create(model, options);
      return new GpuSession(await session);
    } catch (error) {
      throw whyNot(error);
    }
  }

  /** @throws DeviceFailed when the GPU did not compute it */
  async run(
    feeds: Readonly<Record<string, Tensor>>,
    fetches: Readonly<Record<string, Tensor | null>>,
  ): Promise<Readonly<Record<string, Tensor>>> {
    let outputs: Readonly<Record<string, Tensor>>;
    try {
      outputs = await this.session.run(feeds, fetches);
    } catch (error) {
      throw failed(failureOf(error));
    }
    // A driver that lost its device, or has no memory left, may report it and hand out zeros.
    if (isNothing(Object.values(outputs))) throw failed("it gave nothing but zeros");
    return outputs;
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

function requireProvider(): void {
  if (listSupportedBackends().some(({ name }) => name === "webgpu")) return;
  throw new DeviceUnavailable(
    `ONNX Runtime for ${process.platform} ${process.arch} can't use a GPU; it can on macOS arm64 and Linux x64: use --device cpu`,
  );
}

/** What keeps a graph from a GPU, in words that help. */
export function whyNot(error: unknown): DeviceUnavailable {
  const said = failureOf(error);
  if (said.includes("Failed to get a WebGPU adapter")) {
    const remedy =
      process.platform === "linux" ? `install the GPU's Vulkan driver, and libvulkan1 (${useProcessor})` : useProcessor;
    return new DeviceUnavailable(
      `no GPU was found that ONNX Runtime can use: ${remedy}; "kakeya devices" lists what is there`,
    );
  }
  if (isOutOfMemory(said)) {
    return new DeviceUnavailable(
      `the GPU has too little memory for the model and its sessions: lower --capacity or --window, take --quant q4, ${useProcessor} (${said})`,
    );
  }
  return new DeviceUnavailable(`the GPU can't run this model: ${said}; ${useProcessor}`);
}

function failed(said: string): DeviceFailed {
  const remedy = isOutOfMemory(said) ? "lower --capacity or --window" : "start again";
  return new DeviceFailed(`the GPU failed in a step (${said}): ${remedy}, ${useProcessor}`);
}

function isOutOfMemory(said: string): boolean {
  return /out.?of.?memory|bad_alloc|failed to allocate|exceeds the max/i.test(said);
}

function isNothing(outputs: readonly Tensor[]): boolean {
  const here = outputs.filter(({ location, type }) => location === "cpu" && type === "float32");
  return (
    here.some(({ size }) => size > 0) && here.every(({ data }) => Array.prototype.every.call(data, (x) => x === 0))
  );
}
