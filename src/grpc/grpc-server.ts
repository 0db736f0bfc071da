import { createServer, type Server } from "nice-grpc";
import { HealthDefinition, HealthServiceImpl, type HealthState } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import { descriptorSet } from "../gen/descriptors.ts";
import { RuntimeServiceDefinition, type RuntimeServiceImplementation } from "../gen/kakeya/v1/runtime.ts";
import type { Calls } from "../host/calls.ts";
import { type Listening, listen } from "../host/listening.ts";
import type { Log } from "../host/log.ts";
import type { ServerOptions } from "../host/options.ts";
import { patchBunHttp2, preparingServers } from "./bun-http2.ts";
import type { CallMetrics } from "./call-metrics.ts";
import { grpcCredentials } from "./credentials.ts";
import { decodedMiddleware, withUndecodable, withUndecodableJs } from "./decoding.ts";
import { countedMiddleware, untilStopped } from "./draining.ts";
import type { Gate } from "./gate.ts";
import { observingMiddleware } from "./observe.ts";
import { serverNameMiddleware } from "./server-name.ts";
import { statusMiddleware } from "./status.ts";

export interface GrpcParts {
  service: RuntimeServiceImplementation;
  health: HealthState;
  calls: Calls;
  callMetrics: CallMetrics;
  log: Log;
  /** Ends streams that never end by themselves. */
  stop: AbortSignal;
  /** What answers call this server; absent: nothing. */
  serverName: string | undefined;
  /** Monotonic clock, in seconds. */
  now: () => number;
}

/** The three services after their middleware, with the limits set; it does not listen yet. */
export function createGrpcServer(parts: GrpcParts, options: ServerOptions): Server {
  patchBunHttp2();
  const server = createServer({
    "grpc.max_receive_message_length": options.maxRequestBytes,
    "grpc.max_concurrent_streams": options.maxStreamsPerConnection,
    "grpc.keepalive_time_ms": options.keepaliveS * 1000,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutS * 1000,
    interceptors: [parts.callMetrics.interceptor],
  });
  const { log, now } = parts;

  server
    .with(observingMiddleware(log, now))
    .with(serverNameMiddleware(parts.serverName))
    .with(countedMiddleware(parts.calls))
    .with(statusMiddleware(log))
    .with(decodedMiddleware(log, now))
    .add(withUndecodable(RuntimeServiceDefinition), parts.service);
  const services = [RuntimeServiceDefinition.fullName, HealthDefinition.fullName];
  server
    .with(untilStopped(parts.stop))
    .with(decodedMiddleware(log, now))
    .add(withUndecodableJs(ServerReflectionService), ServerReflection(descriptorSet, services));
  server
    .with(untilStopped(parts.stop))
    .with(decodedMiddleware(log, now))
    .add(withUndecodable(HealthDefinition), HealthServiceImpl(parts.health));
  return server;
}

/** Binds the server, with the gate before it, and returns the address as clients dial it. */
export function listenGrpc(server: Server, { bind, tls }: Listening, gate: Gate): Promise<string> {
  return listen(bind, (address) =>
    preparingServers(
      (http2Server) => gate.install(http2Server),
      () => server.listen(address, grpcCredentials(tls)),
    ),
  );
}
