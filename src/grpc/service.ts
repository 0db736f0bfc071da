import type { CallContext } from "nice-grpc";
import type { Engine } from "../engine/engine.ts";
import {
  type DeepPartial,
  GenerateDone_StopReason,
  type GenerateResponse,
  type RuntimeServiceImplementation,
} from "../gen/kakeya/v1/runtime.ts";
import type { Metrics } from "../host/metrics.ts";
import type { GenerationEvent, StopReason } from "../session/session.ts";
import type { SessionStore } from "../session/store.ts";
import { appendedIdsOf, chosenIdOf, eosTokenIdsOf, generationOf, placedOf, type RequestLimits } from "./requests.ts";

/** The metadata in which a session's calls carry its id, for proxies that don't read messages. */
const sessionKey = "kakeya-session";

export interface ServiceParts {
  engine: Engine;
  store: SessionStore;
  metrics: Metrics;
  limits: RequestLimits;
  version: string;
  /** Ends running generations with `done` CANCELLED. */
  stop: AbortSignal;
  /** Draws 64 bits. */
  entropy: () => bigint;
  /** Resident memory of this process. */
  residentBytes: () => number;
  /** Monotonic clock, in seconds. */
  now: () => number;
  startedAtS: number;
}

/** kakeya.v1.RuntimeService: translates the wire's words and hands over to the store. */
export function runtimeService(parts: ServiceParts): RuntimeServiceImplementation {
  const { engine, store, metrics, limits, now } = parts;
  return {
    async createSession(request, context) {
      const chosen = chosenIdOf(context.metadata.get(sessionKey));
      const session = await store.create(eosTokenIdsOf(request, limits), request.clientLabel, "client", chosen);
      return named(context, session.id);
    },

    async appendTokens(request, { signal }) {
      const tokenIds = appendedIdsOf(request, limits);
      const startedAtS = now();
      const historyTokens = await store.append(request.sessionId, tokenIds, signal, placedOf(request));
      metrics.appended(tokenIds.length, now() - startedAtS);
      return { historyLength: BigInt(historyTokens) };
    },

    async *generate(request, { signal }: CallContext) {
      const generation = generationOf(request, parts.entropy);
      const events = store.generate(request.sessionId, { ...generation, signal, stop: parts.stop });
      for await (const event of metrics.timed(events)) yield generateResponse(event);
    },

    async closeSession(request, { signal }) {
      return { finalHistoryLength: BigInt(await store.close(request.sessionId, signal)) };
    },

    async forkSession({ sessionId, at }, context) {
      return named(context, await store.fork(sessionId, at === undefined ? undefined : Number(at), context.signal));
    },

    async getSessionInfo(request, { signal }) {
      const info = await store.info(request.sessionId, signal);
      return {
        historyLength: BigInt(info.historyTokens),
        kvLiveBytes: BigInt(info.liveBytes),
        // A violation ends its session, so one that can still be asked has none.
        cacheInvariantInv1Violations: 0n,
        cacheInvariantInv2Violations: 0n,
        idleSeconds: info.idleS,
        kvSlabBytes: BigInt(info.slabBytes),
        computedTokenTotal: BigInt(info.computedTokens),
        generatedTokenTotal: BigInt(info.generatedTokens),
        replayedTokenTotal: BigInt(info.replayedTokens),
        parked: info.parked,
        draftedTokenTotal: BigInt(info.draftedTokens),
        acceptedDraftTotal: BigInt(info.acceptedDrafts),
        ...(info.lastTokenId === undefined ? {} : { lastTokenId: info.lastTokenId }),
      };
    },

    async getRuntimeInfo() {
      const { info } = engine;
      return {
        version: parts.version,
        modelId: info.modelId,
        modelFingerprint: info.fingerprint,
        architecture: info.architecture,
        vocabSize: info.vocabSize,
        sink: info.sink,
        window: info.window,
        block: info.block,
        quantization: info.quantization,
        kvFormat: info.kv,
        exact: info.exact,
        device: info.facts.device,
        adapter: info.adapter,
        kvBytesPerToken: BigInt(info.kvBytesPerToken),
        kvSlabBytes: BigInt(info.kvSlabBytes),
        defaultEosTokenIds: info.eosTokenIds,
        sessionCapacity: store.capacity,
        sessionActiveCount: store.activeCount,
        residentBytes: BigInt(parts.residentBytes()),
        uptimeSeconds: parts.now() - parts.startedAtS,
        threads: info.threads,
        rowMultiple: info.rowMultiple,
        draftLimit: info.draftLimit,
      };
    },
  };
}

/** The answer that tells a new session's id to its client, and to proxies on the way. */
function named({ header }: CallContext, sessionId: string): { sessionId: string } {
  header.set(sessionKey, sessionId);
  return { sessionId };
}

const stopReasonOnWire: Record<StopReason, GenerateDone_StopReason> = {
  "max-tokens": GenerateDone_StopReason.STOP_REASON_MAX_TOKENS,
  eos: GenerateDone_StopReason.STOP_REASON_EOS,
  cancelled: GenerateDone_StopReason.STOP_REASON_CANCELLED,
};

function generateResponse(event: GenerationEvent): DeepPartial<GenerateResponse> {
  switch (event.kind) {
    case "token":
      return { payload: { $case: "tokenId", value: event.tokenId } };
    case "truncated":
      return { payload: { $case: "truncated", value: { droppedTokenCount: BigInt(event.droppedTokens) } } };
    case "done":
      return {
        payload: {
          $case: "done",
          value: {
            stopReason: stopReasonOnWire[event.stopReason],
            generatedTokenCount: event.generatedTokens,
            prefillDurationSeconds: event.firstTokenS,
            totalDurationSeconds: event.totalS,
          },
        },
      };
  }
}
