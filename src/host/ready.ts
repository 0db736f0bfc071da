/** What a server says on stdout once it answers: one line, a sentence for people or JSON for programs. */

import { escaped, oneLine } from "../cli/plain-text.ts";
import type { EngineInfo } from "../engine/engine.ts";

export interface Ready {
  engine: Pick<
    EngineInfo,
    "modelId" | "quantization" | "kv" | "sink" | "window" | "kvBytesPerToken" | "capacity" | "adapter"
  > & { facts: Pick<EngineInfo["facts"], "device"> };
  /** As clients dial it: host:port or unix:/path. */
  address: string;
  /** Where /metrics is, if it is served. */
  metricsUrl?: string;
  /** http://host:port of the HTTP door, if it is open. */
  httpUrl?: string;
}

/** @param tryIt a command line that reaches the server */
export function readySentence({ engine, address, httpUrl }: Ready, tryIt: string): string {
  const parts = [
    `kakeya serves ${engine.modelId} ${engine.quantization} at ${address}`,
    `${engine.capacity} sessions, each remembers ${remembered(engine)} in ${kvBytes(engine)} KV bytes${engine.kv === "q8" ? " (8 bits)" : ""}`,
    ...(engine.facts.device === "cpu" ? [] : [`on the GPU: ${engine.adapter}`]),
    ...(httpUrl === undefined ? [] : [`chat and OpenAI's API: ${httpUrl}`]),
    `try: ${tryIt}`,
  ];
  return oneLine(parts.join(" | "));
}

/** docs/operations.md describes the fields. */
export function readyJson({ engine, address, metricsUrl, httpUrl }: Ready): string {
  const { modelId, quantization, kv, sink, window, capacity, facts, adapter } = engine;
  return escaped(
    JSON.stringify({
      ready: true,
      address,
      pid: process.pid,
      ...(httpUrl === undefined ? {} : { http_url: httpUrl }),
      ...(metricsUrl === undefined ? {} : { metrics_url: metricsUrl }),
      model: modelId,
      quantization,
      device: facts.device,
      adapter,
      kv,
      sink,
      window,
      capacity,
      kv_bytes_per_session: kvBytes(engine),
    }),
  );
}

/**
 * The address in the line of JSON that a server writes when it is ready; undefined when its output ends without one.
 * What the server writes after it is read and dropped, so that it never waits for a reader.
 */
export async function readyAddress(stdout: ReadableStream<Uint8Array>): Promise<string | undefined> {
  const reader = stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return undefined;
    text += decoder.decode(value, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    const address = lines.map(addressIn).find((found) => found !== undefined);
    if (address === undefined) continue;
    void drain(reader);
    return address;
  }
}

async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  while (!(await reader.read()).done);
}

/** Undefined for a line that is not about readiness. */
function addressIn(line: string): string | undefined {
  if (!line.startsWith("{")) return undefined;
  const { ready, address } = JSON.parse(line) as Record<string, unknown>;
  return ready === true && typeof address === "string" ? address : undefined;
}

function kvBytes({ sink, window, kvBytesPerToken }: Ready["engine"]): number {
  return (sink + window) * kvBytesPerToken;
}

function remembered({ sink, window }: Ready["engine"]): string {
  const last = `the last ${window} tokens`;
  return sink === 0 ? last : `the first ${sink} and ${last}`;
}
