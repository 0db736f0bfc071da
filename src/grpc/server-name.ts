import type { ServerMiddleware } from "nice-grpc";

/** Every answer says which of several servers gave it, where they have names. */
export function serverNameMiddleware(name: string | undefined): ServerMiddleware {
  return async function* named(call, context) {
    if (name !== undefined) context.header.set("kakeya-server", name);
    return yield* call.next(call.request, context);
  };
}
