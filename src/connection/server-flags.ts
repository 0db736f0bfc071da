/** The flags of `serve` that a command passes on to the server that it starts: `serve` checks them. */

import type { ArgsDef } from "citty";
import { UsageError } from "../cli/exit.ts";
import { modelFlags } from "../host/flags.ts";

/** The flags that choose the model. */
export const serverFlags = {
  model: modelFlags.model,
  quant: passedOn(modelFlags.quant),
  device: passedOn(modelFlags.device),
  kv: passedOn(modelFlags.kv),
  sink: passedOn(modelFlags.sink),
  window: modelFlags.window,
  threads: modelFlags.threads,
} as const satisfies ArgsDef;

/** A flag whose default is left to `serve`. */
function passedOn<T extends { description: string; default: string }>({ default: value, ...flag }: T) {
  return { ...flag, description: `${flag.description} (default: ${value})` };
}

/**
 * The flags that were given, of those in `flags`, as `serve` takes them.
 * @throws {UsageError} when the server runs already, at `address`
 */
export function passedOnFlags(
  flags: ArgsDef,
  args: Readonly<Record<string, unknown>>,
  address: string | undefined,
): string[] {
  const given = Object.keys(flags).flatMap((name) => {
    const value = args[name];
    return typeof value === "string" && value !== "" ? [`--${name}`, value] : [];
  });
  if (address === undefined || given.length === 0) return given;
  throw new UsageError(`${given[0]} is for a server that is started here; with --address, give it to that server`);
}
