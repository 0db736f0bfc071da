import { randomBytes } from "node:crypto";
import type { Server } from "nice-grpc";
import { HealthState } from "nice-grpc-server-health";
import type { Engine } from "../engine/engine.ts";
import { RuntimeServiceDefinition } from "../gen/kakeya/v1/runtime.ts";
import { CallMetrics } from "../grpc/call-metrics.ts";
import { Gate } from "../grpc/gate.ts";
import { createGrpcServer, listenGrpc } from "../grpc/grpc-server.ts";
import { runtimeService } from "../grpc/service.ts";
import { bearerAccess } from "../host/access.ts";
import { addressOf } from "../host/bind.ts";
import { trackCalls } from "../host/calls.ts";
import { Connections } from "../host/connections.ts";
import { descriptorsForConnections, watchDescriptors } from "../host/descriptors.ts";
import { BoundedHeap, threadHeap } from "../host/heap.ts";
import { checkListening, type Listening, reasonOf } from "../host/listening.ts";
import type { Log } from "../host/log.ts";
import { Metrics } from "../host/metrics.ts";
import { defaultServerOptions, type ServerOptions } from "../host/options.ts";
import { seldom } from "../host/seldom.ts";
import { sessionEvents } from "../host/session-events.ts";
import { within } from "../host/within.ts";
import { type DoorParts, type HttpDoor, openHttpDoor } from "../http/door.ts";
import { newSessionId } from "../session/session-id.ts";
import { SessionStore } from "../session/store.ts";
import type { StateStore } from "../state/store.ts";

/** How soon a session that another server wants is given to it, once it is idle, in milliseconds. */
const handOverEveryMs = 250;
/** How often the heap is looked at, in milliseconds. Bun collects the young objects as often. */
const heapEveryMs = 1000;
/** Time for the last `done` messages to leave once the grace period is over, in seconds. */
const farewellS = 1;

export interface RunningServer {
  /** As clients dial it: host:port or unix:/path. */
  readonly address: string;
  /** http://host:port of the HTTP door; undefined when it is closed. */
  readonly httpUrl: string | undefined;
  readonly store: SessionStore;
  readonly metrics: Metrics;
  readonly connections: Connections;
  /** Turns new calls away, lets those in flight end within the grace period, then ends them. */
  stop(): Promise<void>;
}

export interface ServerParts {
  engine: Engine;
  /** Of this kakeya. */
  version: string;
  /** The commit that it was built from, if any. */
  commit: string | null;
  log: Log;
  /** Of this server among several; absent: it has none. */
  serverName?: string;
  /** Where sessions outlive the server; the caller closes it. Absent: nowhere. */
  state?: {
    store: StateStore;
    rebuild: boolean;
    /** The folder; absent where it is none. */
    dir?: string;
    /** How long a call waits for another server to give its session back, in seconds. */
    handOverWaitS?: number;
  };
}

/**
 * Serves `engine` until stopped. The caller closes the engine.
 *
 * @throws Error when it can't listen, a TLS file can't be read, or others could reach it without a token.
 */
export async function startServer(parts: ServerParts, given: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const { engine, log, version, state } = parts;
  const options = { ...defaultServerOptions, ...given };
  const listening = await checkListening(options);

  const metrics = new Metrics(monotonicS);
  const store = new SessionStore(engine, {
    ttlS: options.sessionTtlS,
    evictAfterS: options.evictAfterS,
    maxWaitingCalls: options.maxWaitingCalls,
    now: monotonicS,
    newId: newSessionId,
    events: sessionEvents(metrics, log),
    ...(state && { parking: { ...state, state: state.store, nowMs: Date.now } }),
  });
  const calls = trackCalls();
  const connections = new Connections({ max: mostConnections(options, log), log, now: monotonicS });
  metrics.describe({ version, commit: parts.commit ?? "" }, engine.info);
  metrics.watch(store, connections, () => calls.inFlight);
  const callMetrics = new CallMetrics(metrics.registry);
  const health = HealthState();
  // Each Watch listens to it; the limits of connections and streams bound their number.
  health.setMaxListeners(0);
  health.setStatus("healthy", RuntimeServiceDefinition.fullName);
  const stopping = new AbortController();

  const service = runtimeService({
    engine,
    store,
    metrics,
    limits: { vocabSize: engine.info.vocabSize, maxAppendTokens: options.maxAppendTokens },
    version,
    stop: stopping.signal,
    entropy: () => randomBytes(8).readBigUInt64LE(),
    residentBytes: () => process.memoryUsage.rss(),
    now: monotonicS,
    startedAtS: monotonicS(),
  });
  const grpc = {
    service,
    serverName: parts.serverName,
    health,
    calls,
    callMetrics,
    log,
    stop: stopping.signal,
    now: monotonicS,
  };
  const server = createGrpcServer(grpc, options);
  const gate = new Gate({
    access: bearerAccess(options.token),
    connections,
    calls: callMetrics,
    metrics,
    log,
    maxRequestBytes: options.maxRequestBytes,
    now: monotonicS,
  });
  const address = await listenGrpc(server, listening, gate);
  const http = await openHttp(
    { engine, store, metrics, calls, connections, log, stop: stopping.signal, now: monotonicS, stateDir: state?.dir },
    listening,
    options,
  );
  const evictIdle = told(log, "idle sessions could not be removed", () => store.evictIdle());
  const sweep = setInterval(() => void evictIdle(), sweepEveryMs(options.sessionTtlS));
  sweep.unref();
  const handOver = told(log, "sessions could not be handed over", () => store.handOver());
  // A folder is one server's: nobody else wants its sessions.
  const isShared = state?.handOverWaitS !== undefined;
  const handingOver = isShared ? setInterval(() => void handOver(), handOverEveryMs) : undefined;
  handingOver?.unref();
  const heap = new BoundedHeap(threadHeap);
  const boundingHeap = setInterval(() => {
    const freedBytes = heap.look();
    if (freedBytes > 0) log.debug("heap collected", { freed_bytes: freedBytes });
  }, heapEveryMs);
  boundingHeap.unref();
  const unwatchDescriptors = watchDescriptors(log, monotonicS);

  return {
    address,
    httpUrl: http?.url,
    store,
    metrics,
    connections,
    async stop() {
      clearInterval(sweep);
      clearInterval(boundingHeap);
      unwatchDescriptors();
      health.setStatus("unhealthy");
      health.setStatus("unhealthy", RuntimeServiceDefinition.fullName);
      const idle = calls.drain();
      await within(options.shutdownGraceS, idle);
      stopping.abort();
      await within(farewellS, idle);
      await http?.stop();
      await shutdown(server);
      clearInterval(handingOver);
      await store.endAll();
    },
  };
}

/** When nobody asked for the door, a port that is taken is no reason to stop. */
async function openHttp(parts: DoorParts, listening: Listening, options: ServerOptions): Promise<HttpDoor | undefined> {
  const { http, tls } = listening;
  if (http === undefined) return undefined;
  try {
    return await openHttpDoor(parts, { bind: http, tls }, options);
  } catch (error) {
    const reason = `--http ${addressOf(http)}: ${reasonOf(error instanceof Error ? error : new Error(String(error)))}`;
    if (options.http?.isDefault !== true) throw new Error(reason);
    parts.log.warn("the HTTP door stays closed", { reason });
    return undefined;
  }
}

/** No more than the process has descriptors for, whatever was asked for. */
function mostConnections({ maxConnections }: ServerOptions, log: Log): number {
  const possible = descriptorsForConnections() ?? maxConnections;
  if (possible >= maxConnections) return maxConnections;
  log.warn("fewer connections than --max-connections: see ulimit -n", {
    max_connections: maxConnections,
    connections: possible,
  });
  return possible;
}

/** A peer that ignores GOAWAY would keep a graceful shutdown waiting for ever. */
async function shutdown(server: Server): Promise<void> {
  await within(farewellS, server.shutdown());
  server.forceShutdown();
}

/** Does what nobody waits for; what goes wrong is logged, however often it does. */
function told(log: Log, failure: string, work: () => Promise<void>): () => Promise<void> {
  const warn = seldom(failure, { write: log.warn, now: monotonicS });
  return () =>
    work().catch((error: unknown) => warn({ error: error instanceof Error ? error.message : String(error) }));
}

/** A session outlives its TTL by a quarter at most, and looking this seldom costs nothing. */
function sweepEveryMs(ttlS: number): number {
  return Math.min(Math.max(ttlS / 4, 0.1), 30) * 1000;
}

function monotonicS(): number {
  return performance.now() / 1000;
}
