import type { ServiceDefinition } from "@grpc/grpc-js";
import { ServerError, type ServerMiddleware, Status, type TsProtoServiceDefinition } from "nice-grpc";
import type { Log } from "../host/log.ts";
import { seldom } from "../host/seldom.ts";

/** Stands in for a request that could not be decoded. */
class Undecodable {
  constructor(readonly reason: string) {}
}

/**
 * The same service, whose undecodable requests reach the middleware. By itself, grpc-js answers INTERNAL and reports
 * nothing.
 */
export function withUndecodable<Definition extends TsProtoServiceDefinition>(definition: Definition): Definition {
  const methods = Object.entries(definition.methods).map(([name, method]) => {
    const requestType = { ...method.requestType, decode: caught(method.requestType.decode) };
    return [name, { ...method, requestType }];
  });
  return { ...definition, methods: Object.fromEntries(methods) };
}

/** The same for a service that was generated for grpc-js. */
export function withUndecodableJs<Definition extends ServiceDefinition>(definition: Definition): Definition {
  const methods = Object.entries(definition).map(([name, method]) => {
    return [name, { ...method, requestDeserialize: caught(method.requestDeserialize) }];
  });
  return Object.fromEntries(methods);
}

function caught<Bytes>(decode: (bytes: Bytes) => unknown): (bytes: Bytes) => unknown {
  return (bytes) => {
    try {
      return decode(bytes);
    } catch (error) {
      return new Undecodable(error instanceof Error ? error.message : String(error));
    }
  };
}

/** Answers undecodable requests with INVALID_ARGUMENT, and logs them. */
export function decodedMiddleware(log: Log, now: () => number): ServerMiddleware {
  const undecodable = seldom("request can't be decoded", { write: log.warn, now });
  return async function* decoded(call, context) {
    const requireDecoded = (request: unknown) => {
      if (!(request instanceof Undecodable)) return;
      const { path } = call.method;
      undecodable({ path, reason: request.reason, peer: context.peer });
      throw new ServerError(Status.INVALID_ARGUMENT, `the request is not a message of ${path}: ${request.reason}`);
    };
    if (call.requestStream) return yield* call.next(each(call.request, requireDecoded), context);
    requireDecoded(call.request);
    return yield* call.next(call.request, context);
  };
}

async function* each<Item>(items: AsyncIterable<Item>, check: (item: Item) => void): AsyncGenerator<Item> {
  for await (const item of items) {
    check(item);
    yield item;
  }
}
