import { createHash, timingSafeEqual } from "node:crypto";

/** `missing`: no bearer token was given. `refused`: it was not the server's. */
export type Verdict = "granted" | "missing" | "refused";

/** Judges a request by its `authorization` header, whichever door it came through. */
export type Access = (authorization: string | undefined) => Verdict;

/**
 * Grants only `Bearer <token>`, or everything when the server has no token. The comparison takes constant time, and
 * compares digests, so that not even the token's length shows.
 */
export function bearerAccess(token: string | undefined): Access {
  if (token === undefined) return () => "granted";
  const expected = digest(token);
  return (authorization) => {
    const given = /^bearer (.*)$/i.exec(authorization ?? "")?.[1];
    if (given === undefined) return "missing";
    return timingSafeEqual(digest(given), expected) ? "granted" : "refused";
  };
}

/** What a caller is told. */
export const accessDenied: Record<Exclude<Verdict, "granted">, string> = {
  missing: "this server wants the metadata `authorization: Bearer <token>`",
  refused: "the bearer token was refused: it is not this server's",
};

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
