import { createServer, type Server, type ServerMiddleware } from "nice-grpc";
import { HealthDefinition, HealthServiceImpl, type HealthState } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import { descriptorSet } from "../gen/descriptors.ts";
import { RuntimeServiceDefinition, type RuntimeServiceImplementation } from "../gen/kakeya/v1/runtime.ts";
import type { Calls } from "../host/calls.ts";
import type { Log } from "../host/log.ts";
import type { Metrics } from "../host/metrics.ts";
import type { ServerOptions } from "../host/options.ts";
import { bearerTokenMiddleware } from "./auth.ts";
import { patchBunHttp2 } from "./bun-http2.ts";
import { observingMiddleware } from "./observe.ts";
import { statusMiddleware } from "./status.ts";
import { untilStopped } from "./until-stopped.ts";

export interface GrpcParts {
  service: RuntimeServiceImplementation;
  health: HealthState;
  calls: Calls;
  metrics: Metrics;
  log: Log;
  /** Ends streams that never end by themselves. */
  stop: AbortSignal;
  /** Monotonic clock, in seconds. */
  now: () => number;
}

/** The three services behind their middleware, with the limits set; it does not listen yet. */
export function createGrpcServer(parts: GrpcParts, options: ServerOptions): Server {
  patchBunHttp2();
  const server = createServer({
    "grpc.max_receive_message_length": options.maxRequestBytes,
    "grpc.max_concurrent_streams": options.maxStreamsPerConnection,
    "grpc.keepalive_time_ms": options.keepaliveS * 1000,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutS * 1000,
  });
  const checkToken = options.token ? bearerTokenMiddleware(options.token) : passOn;

  server
    .with(observingMiddleware(parts.metrics, parts.log, parts.now))
    .with(checkToken)
    .with(parts.calls.middleware)
    .with(statusMiddleware(parts.log))
    .add(RuntimeServiceDefinition, parts.service);
  server
    .with(untilStopped(parts.stop))
    .with(checkToken)
    .add(ServerReflectionService, ServerReflection(descriptorSet, [RuntimeServiceDefinition.fullName]));
  // Probes have no token.
  server.with(untilStopped(parts.stop)).add(HealthDefinition, HealthServiceImpl(parts.health));
  return server;
}

const passOn: ServerMiddleware = (call, context) => call.next(call.request, context);
