import { createHash, timingSafeEqual } from "node:crypto";
import { ServerError, type ServerMiddleware, Status } from "nice-grpc";

/**
 * Refuses calls without `authorization: Bearer <token>`. Compares in constant time, digests so that not even
 * the token's length shows.
 */
export function bearerTokenMiddleware(token: string): ServerMiddleware {
  const expected = digest(token);
  return async function* bearerToken(call, context) {
    const header = context.metadata.get("authorization");
    const given = /^bearer (.*)$/i.exec(header ?? "")?.[1];
    if (given === undefined) {
      throw new ServerError(Status.UNAUTHENTICATED, "this server wants the metadata `authorization: Bearer <token>`");
    }
    if (!timingSafeEqual(digest(given), expected)) {
      throw new ServerError(Status.UNAUTHENTICATED, "the bearer token is wrong");
    }
    return yield* call.next(call.request, context);
  };
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
