import { HealthDefinition } from "nice-grpc-server-health";
import { ServerReflectionService } from "nice-grpc-server-reflection";
import { RuntimeServiceDefinition } from "../gen/kakeya/v1/runtime.ts";

/** A method in the words of go-grpc-prometheus, whose labels dashboards expect. */
export interface MethodLabels {
  grpc_type: "unary" | "server_stream" | "client_stream" | "bidi_stream";
  grpc_service: string;
  grpc_method: string;
}

interface Streaming {
  requestStream: boolean;
  responseStream: boolean;
}

/** Anything that is not a method of ours, whatever its name: callers must not be able to invent label values. */
const unknownMethod: MethodLabels = { grpc_type: "unary", grpc_service: "unknown", grpc_method: "unknown" };

const labelsOfPath = new Map<string, MethodLabels>();
for (const { fullName, methods } of [RuntimeServiceDefinition, HealthDefinition]) {
  for (const method of Object.values(methods)) add(`/${fullName}/${method.name}`, method);
}
for (const { path, ...streaming } of Object.values(ServerReflectionService)) add(path, streaming);

/** Every method that the server answers. */
export const knownMethods: readonly MethodLabels[] = [...labelsOfPath.values()];

/** @param path as in `:path`: /package.Service/Method */
export function methodLabels(path: string | undefined): MethodLabels {
  return labelsOfPath.get(path ?? "") ?? unknownMethod;
}

/** Probes have no token. */
export function needsToken({ grpc_service }: MethodLabels): boolean {
  return grpc_service !== HealthDefinition.fullName;
}

function add(path: string, { requestStream, responseStream }: Streaming): void {
  const [, service = "", method = ""] = path.split("/");
  const type = requestStream
    ? responseStream
      ? "bidi_stream"
      : "client_stream"
    : responseStream
      ? "server_stream"
      : "unary";
  labelsOfPath.set(path, { grpc_type: type, grpc_service: service, grpc_method: method });
}
