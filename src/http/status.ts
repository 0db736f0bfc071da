import type { Engine } from "../engine/engine.ts";
import type { Calls } from "../host/calls.ts";
import type { SessionStore } from "../session/store.ts";

export interface StatusParts {
  engine: Engine;
  store: SessionStore;
  calls: Calls;
}

/**
 * GET /status: what the page shows of the server. Sessions are shown without their ids, because whoever knows an id can
 * use the session.
 */
export async function statusResponse({ engine, store, calls }: StatusParts): Promise<Response> {
  const { modelId, quantization, sink, window, kvSlabBytes, facts, adapter } = engine.info;
  const kept = await store.stateSizes?.();
  return Response.json({
    model: modelId,
    quantization,
    device: facts.device,
    adapter,
    sink,
    window,
    capacity: store.capacity,
    kv_slab_bytes: kvSlabBytes,
    sessions: [...store.sessions].map(({ historyTokens, liveBytes, idle }) => ({
      history_tokens: historyTokens,
      kv_live_bytes: liveBytes,
      idle,
    })),
    parked: kept === undefined ? null : Math.max(0, kept.sessions - store.activeCount),
    calls_in_flight: calls.inFlight,
    calls_waiting: store.queueDepth,
    resident_bytes: process.memoryUsage.rss(),
  });
}
