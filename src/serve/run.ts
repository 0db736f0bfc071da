import { describeAdapter } from "../devices/adapter.ts";
import { findAdapters } from "../devices/find.ts";
import { DeviceUnavailable, type Engine, type EngineOptions } from "../engine/engine.ts";
import { openEngine } from "../engine/open.ts";
import { logGrpcMessages } from "../grpc/grpc-messages.ts";
import { checkListening } from "../host/listening.ts";
import type { Log } from "../host/log.ts";
import { serveMetrics } from "../host/metrics-page.ts";
import { defaultServerOptions, type ServerOptions, type StateOptions } from "../host/options.ts";
import { logProcessWarnings } from "../host/process-warnings.ts";
import type { Ready } from "../host/ready.ts";
import { setDriverEnvironment } from "../ort/driver-environment.ts";
import { openState } from "../state/open.ts";
import { startServer } from "./server.ts";

export interface RunOptions {
  engine: EngineOptions;
  server: Partial<ServerOptions>;
  /** Port of /metrics on loopback; absent: none. */
  metricsPort?: number;
  /** How this process starts another one, to try GPUs. */
  kakeya: readonly string[];
  version: string;
  /** The commit that this executable was built from; null when it was not. */
  commit: string | null;
  log: Log;
  /** Called once, when the server answers. */
  onReady: (ready: Ready) => void;
  /** Asks the server to stop. */
  stop: AbortSignal;
  state?: StateOptions;
}

/** Loads the model and serves it until told to stop. @throws Error when the engine or the state's thread crashes meanwhile. */
export async function runServer(options: RunOptions): Promise<void> {
  const { log, stop, version, commit } = options;
  const serverName = options.state !== undefined && "url" in options.state ? options.state.serverName : undefined;
  logProcessWarnings(log);
  logGrpcMessages(log);

  // Checked before the model is loaded, which may take minutes.
  await checkListening({ ...defaultServerOptions, ...options.server });
  await using state = options.state && (await openedState(options.state));
  const engine = await Promise.race([openedEngine(options), aborted(stop)]);
  if (engine === undefined) return;
  for (const warning of engine.info.warnings) log.warn(warning);
  try {
    const server = await startServer(
      { engine, version, commit, log, ...(state && { state }), ...(serverName === undefined ? {} : { serverName }) },
      options.server,
    );
    const page = options.metricsPort === undefined ? undefined : await serveMetrics(server, options.metricsPort);
    if (page !== undefined) log.info("metrics", { url: page.url });
    const { address, httpUrl } = server;
    options.onReady({
      engine: engine.info,
      address,
      ...(page && { metricsUrl: page.url }),
      ...(httpUrl === undefined ? {} : { httpUrl }),
    });

    const crashed = AbortSignal.any([engine.crashed, ...(state ? [state.store.crashed] : [])]);
    await Promise.race([aborted(stop), aborted(crashed)]);
    if (crashed.aborted) log.error("a thread crashed", { error: crashed.reason.message });
    log.info("stopping", { sessions: server.store.activeCount });
    await server.stop();
    await page?.close();
    if (crashed.aborted) throw crashed.reason;
  } finally {
    await engine.close();
  }
}

/** @throws DeviceUnavailable */
async function openedEngine({ engine, kakeya, log }: RunOptions): Promise<Engine> {
  if (engine.device !== "gpu") return openEngine(engine);
  const { adapters, problem } = await findAdapters(kakeya);
  const [adapter] = adapters;
  if (problem !== null || adapter === undefined) throw new DeviceUnavailable(`--device gpu: ${problem}`);
  setDriverEnvironment(adapter.manifest);
  if (adapter.kind === "software") {
    log.warn("the processor does the work of this GPU: --device cpu is faster", { adapter: adapter.name });
  }
  return openEngine({ ...engine, adapter: describeAdapter(adapter) });
}

/** Opened before the model, too: another server may hold the folder, or the database be away. */
async function openedState({ rebuild, ...options }: StateOptions) {
  const store = await openState(options);
  const kind = "dir" in options ? { dir: options.dir } : { handOverWaitS: options.waitS };
  return { store, rebuild, ...kind, [Symbol.asyncDispose]: () => store.close() };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
