import { randomBytes } from "node:crypto";
import { createServer, type Server, type ServerMiddleware } from "nice-grpc";
import { HealthDefinition, HealthServiceImpl, HealthState } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import type { Engine, EngineCrashed } from "../engine/engine.ts";
import { descriptorSet } from "../gen/descriptors.ts";
import { RuntimeServiceDefinition } from "../gen/kakeya/v1/runtime.ts";
import { SessionStore } from "../session/store.ts";
import { bearerTokenMiddleware } from "./auth.ts";
import { addressOf, makePrivate, removeStaleSocket } from "./bind.ts";
import { patchBunHttp2 } from "./bun-http2.ts";
import { trackCalls } from "./calls.ts";
import { checkListening } from "./listening.ts";
import type { Log } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { observingMiddleware } from "./observe.ts";
import { defaultServerOptions, type ServerOptions } from "./options.ts";
import { runtimeService } from "./service.ts";
import { sessionEvents } from "./session-events.ts";
import { statusMiddleware } from "./status.ts";
import { untilStopped } from "./until-stopped.ts";

/** Time for the last `done` messages to leave once the grace period is over, in seconds. */
const farewellS = 1;

export interface RunningServer {
  /** As clients dial it: host:port or unix:/path. */
  readonly address: string;
  readonly store: SessionStore;
  readonly metrics: Metrics;
  /** Aborts when the engine has died: the server can only be stopped. */
  readonly crashed: AbortSignal;
  /** Turns new calls away, lets those in flight end within the grace period, then ends them. */
  stop(): Promise<void>;
}

export interface ServerParts {
  engine: Engine;
  /** Of this kakeya. */
  version: string;
  log: Log;
}

/**
 * Serves `engine` until stopped. The engine stays the caller's to close.
 *
 * @throws Error when it can't listen, a TLS file can't be read, or others could reach it without a token.
 */
export async function startServer(parts: ServerParts, given: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const options = { ...defaultServerOptions, ...given };
  const { engine, log } = parts;
  const { bind, credentials } = await checkListening(options);
  const startedAtS = monotonicS();
  const metrics = new Metrics(monotonicS);
  const crashed = new AbortController();
  const store = new SessionStore(engine, {
    ttlS: options.sessionTtlS,
    maxWaitingCalls: options.maxWaitingCalls,
    now: monotonicS,
    newId: () => randomBytes(24).toString("base64url"),
    events: sessionEvents(metrics, log, (error: EngineCrashed) => crashed.abort(error)),
  });
  const calls = trackCalls();
  metrics.watch(store, () => calls.inFlight);
  const stopping = new AbortController();
  const health = HealthState();
  health.setStatus("healthy", RuntimeServiceDefinition.fullName);

  patchBunHttp2();
  const server = createServer({
    "grpc.max_receive_message_length": options.maxRequestBytes,
    "grpc.max_concurrent_streams": options.maxStreamsPerConnection,
    "grpc.keepalive_time_ms": options.keepaliveS * 1000,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutS * 1000,
  });
  const checkToken = options.token ? bearerTokenMiddleware(options.token) : passOn;
  // Health is open to probes, which have no token.
  server.with(untilStopped(stopping.signal)).add(HealthDefinition, HealthServiceImpl(health));
  server
    .with(untilStopped(stopping.signal))
    .with(checkToken)
    .add(ServerReflectionService, ServerReflection(descriptorSet, [RuntimeServiceDefinition.fullName]));
  server
    .with(observingMiddleware(metrics, log, monotonicS))
    .with(checkToken)
    .with(calls.middleware)
    .with(statusMiddleware(log))
    .add(
      RuntimeServiceDefinition,
      runtimeService({
        engine,
        store,
        metrics,
        limits: { vocabSize: engine.info.vocabSize, maxAppendTokens: options.maxAppendTokens },
        version: parts.version,
        stop: stopping.signal,
        entropy: () => randomBytes(8).readBigUInt64LE(),
        residentBytes: () => process.memoryUsage.rss(),
        now: monotonicS,
        startedAtS,
      }),
    );

  if (bind.kind === "unix") await removeStaleSocket(bind.path);
  const port = await server.listen(addressOf(bind), credentials).catch((error: Error) => {
    throw new Error(`--bind ${options.bind}: ${error.message}`);
  });
  if (bind.kind === "unix") await makePrivate(bind.path);
  const address = addressOf(bind.kind === "unix" ? bind : { ...bind, port });

  const sweep = setInterval(() => void store.evictIdle(), Math.min(options.sessionTtlS / 4, 30) * 1000);
  sweep.unref();
  return {
    address,
    store,
    metrics,
    crashed: crashed.signal,
    async stop() {
      clearInterval(sweep);
      health.setStatus("unhealthy");
      health.setStatus("unhealthy", RuntimeServiceDefinition.fullName);
      const idle = calls.drain();
      await within(options.shutdownGraceS, idle);
      stopping.abort();
      await within(farewellS, idle);
      await shutdown(server);
      await store.endAll();
    },
  };
}

const passOn: ServerMiddleware = (call, context) => call.next(call.request, context);

/** A peer that ignores GOAWAY would keep a polite shutdown waiting for ever. */
async function shutdown(server: Server): Promise<void> {
  await within(farewellS, server.shutdown());
  server.forceShutdown();
}

async function within(durationS: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, durationS * 1000);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

function monotonicS(): number {
  return performance.now() / 1000;
}
