import { oneLine } from "../cli/plain-text.ts";
import type { EngineInfo } from "../engine/engine.ts";

/** What the one line on stdout says once a server answers. */
export interface Ready {
  engine: Pick<EngineInfo, "modelId" | "quantization" | "sink" | "window" | "kvBytesPerToken" | "capacity">;
  /** As clients dial it: host:port or unix:/path. */
  address: string;
  /** A command line that reaches it. */
  tryIt: string;
}

export function readyLine({ engine, address, tryIt }: Ready): string {
  const kvBytes = (engine.sink + engine.window) * engine.kvBytesPerToken;
  const parts = [
    `kakeya serves ${engine.modelId} ${engine.quantization} at ${address}`,
    `${engine.capacity} sessions, each remembers ${remembered(engine)} in ${kvBytes} KV bytes`,
    `try: ${tryIt}`,
  ];
  return oneLine(parts.join(" | "));
}

function remembered({ sink, window }: Pick<EngineInfo, "sink" | "window">): string {
  const last = `the last ${window} tokens`;
  return sink === 0 ? last : `the first ${sink} and ${last}`;
}

/** The address in a server's ready line; undefined when it is another line. */
export function addressIn(line: string): string | undefined {
  return /^kakeya serves .* at (.+?) \| \d+ sessions, /.exec(line)?.[1];
}
