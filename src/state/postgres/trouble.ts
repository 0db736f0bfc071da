/** What an error of Postgres, or of the way to it, means to those who wait for it. */

import { StateError, type StateErrorKind } from "../errors.ts";

export type Trouble =
  /** The database is away for now; whether the statement was done is not known. */
  | "away"
  /** Two transactions were in each other's way, and this one was rolled back: do it again. */
  | "conflict";

const away = [
  /^08/, // connection exceptions
  /^57P0[1-5]$/, // shut down, crashed, starting up, database dropped, idle for too long
  /^25P03$/, // idle in a transaction for too long
  /^25006$/, // read-only: a standby that is about to become the primary, or a primary that no longer is
  /^53300$/, // too many connections
];

const kinds: [RegExp, StateErrorKind, string][] = [
  [/^53100$/, "full", "the database's disk is full; free some space and try again"],
  [/^53/, "full", "the database is out of resources; give it more and try again"],
  [/^58030$/, "full", "the database's disk takes no more"],
  [/^XX00[12]$/, "damaged", "the database is damaged; restore it from a backup"],
  [/^28/, "unusable", "the database lets this user not in; check user and password"],
  [/^3D000$/, "unusable", "there is no such database; create it, or name another one"],
  [/^42501$/, "unusable", "the user may not do this; make it the owner of the database or of the schema kakeya"],
];

/** Undefined: an error that doing it again would not mend. */
export function troubleOf(error: unknown): Trouble | undefined {
  const { code, state } = codesOf(error);
  if (state === "40001" || state === "40P01" || state === "55P03") return "conflict";
  if (away.some((pattern) => pattern.test(state))) return "away";
  return /^ERR_POSTGRES_(CONNECTION|LIFETIME|IDLE)|^ECONN|^EPIPE|^ETIMEDOUT|^ENOENT$|^FailedToOpenSocket/.test(code)
    ? "away"
    : undefined;
}

/** The SQLSTATE; empty for what Postgres did not say. */
export function sqlStateOf(error: unknown): string {
  return codesOf(error).state;
}

/** @param shown the database, without its password */
export function stateErrorFrom(shown: string, error: unknown): unknown {
  if (error instanceof StateError || !(error instanceof Error)) return error;
  const { code, state } = codesOf(error);
  const known = kinds.find(([pattern]) => pattern.test(state));
  if (known !== undefined)
    return new StateError(known[1], `${shown}: ${known[2]} (${error.message})`, { cause: error });
  const isRefusal = /^ERR_POSTGRES_(TLS|AUTHENTICATION|UNSUPPORTED_AUTH)|CERT|VERIFY/.test(code);
  if (!isRefusal) return error;
  const words = `${error.message}; check the URL's sslmode and sslrootcert, user and password`;
  return new StateError("unusable", `${shown}: ${words}`, { cause: error });
}

export function unreachable(shown: string, error: unknown): StateError {
  const words = error instanceof Error ? error.message : String(error);
  return new StateError("unreachable", `${shown} can't be reached (${words}); try again when it can`, { cause: error });
}

function codesOf(error: unknown): { code: string; state: string } {
  if (!(error instanceof Error)) return { code: "", state: "" };
  const { code, errno } = error as Error & { code?: unknown; errno?: unknown };
  return { code: String(code ?? ""), state: typeof errno === "string" && errno.length === 5 ? errno : "" };
}
