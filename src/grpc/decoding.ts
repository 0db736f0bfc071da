import { ServerError, type ServerMiddleware, Status, type TsProtoServiceDefinition } from "nice-grpc";
import type { Log } from "../host/log.ts";
import { seldom } from "../host/seldom.ts";

/** Stands in for a request that could not be decoded. */
class Undecodable {
  constructor(readonly reason: string) {}
}

/** The same service, whose undecodable requests get as far as the middleware; grpc-js answers INTERNAL and tells nobody. */
export function withUndecodable<Definition extends TsProtoServiceDefinition>(definition: Definition): Definition {
  const methods = Object.entries(definition.methods).map(([name, method]) => {
    const { decode } = method.requestType;
    const requestType = {
      ...method.requestType,
      decode(bytes: Uint8Array): unknown {
        try {
          return decode(bytes);
        } catch (error) {
          return new Undecodable(error instanceof Error ? error.message : String(error));
        }
      },
    };
    return [name, { ...method, requestType }];
  });
  return { ...definition, methods: Object.fromEntries(methods) };
}

/** Answers undecodable requests with INVALID_ARGUMENT, and logs them. */
export function decodedMiddleware(log: Log, now: () => number): ServerMiddleware {
  const undecodable = seldom("request can't be decoded", { write: log.warn, now });
  return async function* decoded(call, context) {
    if (call.request instanceof Undecodable) {
      const { reason } = call.request;
      undecodable({ path: call.method.path, reason, peer: context.peer });
      throw new ServerError(Status.INVALID_ARGUMENT, `the request is no message of ${call.method.path}: ${reason}`);
    }
    return yield* call.next(call.request, context);
  };
}
