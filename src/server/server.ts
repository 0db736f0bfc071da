import { randomBytes } from "node:crypto";
import { createServer } from "nice-grpc";
import type { Engine } from "../engine/engine.ts";
import { RuntimeServiceDefinition } from "../gen/kakeya/v1/runtime.ts";
import { type SessionEvents, SessionStore } from "../session/store.ts";
import { defaultServerOptions, type ServerOptions } from "./options.ts";
import { runtimeService } from "./service.ts";
import { statusMiddleware } from "./status.ts";

export interface RunningServer {
  /** As clients dial it: host:port or unix:/path. */
  readonly address: string;
  readonly store: SessionStore;
  /** Lets streams in flight finish for the grace period, then ends them; resolves when the port is closed. */
  stop(): Promise<void>;
}

export interface ServerParts {
  engine: Engine;
  version: string;
  events: SessionEvents;
}

/** Serves `engine` until stopped. The engine stays the caller's to close. */
export async function startServer(parts: ServerParts, given: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const options = { ...defaultServerOptions, ...given };
  const { engine } = parts;
  const startedAtS = monotonicS();
  const stopping = new AbortController();
  const store = new SessionStore(engine, {
    ttlS: options.sessionTtlS,
    maxWaitingCalls: options.maxWaitingCalls,
    now: monotonicS,
    newId: () => randomBytes(24).toString("base64url"),
    events: parts.events,
  });
  const sweep = setInterval(() => void store.evictIdle(), Math.min(options.sessionTtlS / 4, 30) * 1000);
  sweep.unref();

  const server = createServer({
    "grpc.max_receive_message_length": options.maxRequestBytes,
    "grpc.max_concurrent_streams": options.maxStreamsPerConnection,
  }).use(statusMiddleware);
  server.add(
    RuntimeServiceDefinition,
    runtimeService({
      engine,
      store,
      limits: { vocabSize: engine.info.vocabSize, maxAppendTokens: options.maxAppendTokens },
      version: parts.version,
      stop: stopping.signal,
      entropy: () => randomBytes(8).readBigUInt64LE(),
      residentBytes: () => process.memoryUsage.rss(),
      uptimeS: () => monotonicS() - startedAtS,
    }),
  );
  const port = await server.listen(options.bind);

  return {
    address: options.bind.startsWith("unix:") ? options.bind : options.bind.replace(/:\d+$/, `:${port}`),
    store,
    async stop() {
      clearInterval(sweep);
      const closed = server.shutdown();
      const grace = setTimeout(() => stopping.abort(), options.shutdownGraceS * 1000);
      const force = setTimeout(() => server.forceShutdown(), options.shutdownGraceS * 1000 + 500);
      await closed;
      clearTimeout(grace);
      clearTimeout(force);
    },
  };
}

function monotonicS(): number {
  return performance.now() / 1000;
}
