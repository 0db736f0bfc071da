import type { StateErrorKind } from "./errors.ts";
import type { PostgresOptions } from "./postgres/postgres-store.ts";
import type { SqliteOptions } from "./sqlite-store.ts";
import type { StateStore } from "./store.ts";

export type Method = keyof StateStore;

export type Call = { [M in Method]: { method: M; args: Parameters<StateStore[M]> } }[Method];

export type OpenOptions = Omit<SqliteOptions, "nowMs"> | PostgresOptions;

export type ToWorker = { kind: "open"; options: OpenOptions } | { kind: "call"; id: number; call: Call };

/** An error crosses threads as its message; `state` is the kind of a StateError. */
export interface Refusal {
  message: string;
  state?: StateErrorKind;
}

/** The answer to `open` has the id 0. */
export type FromWorker =
  | { kind: "answer"; id: number; value: unknown }
  | { kind: "refused"; id: number; error: Refusal };

/** The memory that is handed over with `pieces`, each once. */
export function buffersUnder(pieces: readonly Uint8Array[]): ArrayBuffer[] {
  return [...new Set(pieces.map(({ buffer }) => buffer))].filter((buffer) => buffer instanceof ArrayBuffer);
}
