import { greedy, type Sampling } from "../engine/engine.ts";
import type { AppendTokensRequest, CreateSessionRequest, GenerateRequest } from "../gen/kakeya/v1/runtime.ts";
import { SessionError } from "../session/errors.ts";
import type { Placed } from "../session/session.ts";
import { isSessionId } from "../session/session-id.ts";

const maxLabelBytes = 256;
const maxEosTokenIds = 1024;

export interface RequestLimits {
  vocabSize: number;
  /** Token ids in one AppendTokens. */
  maxAppendTokens: number;
}

/** @throws SessionError that names the first thing wrong, for this function and those below. */
export function eosTokenIdsOf(request: CreateSessionRequest, { vocabSize }: RequestLimits): number[] {
  const labelBytes = Buffer.byteLength(request.clientLabel);
  if (labelBytes > maxLabelBytes) {
    throw invalid(`client_label takes ${labelBytes} bytes; at most ${maxLabelBytes} are kept`);
  }
  if (request.eosTokenIds.length > maxEosTokenIds) {
    throw invalid(`eos_token_ids holds ${request.eosTokenIds.length} ids; at most ${maxEosTokenIds} are allowed`);
  }
  checkIds("eos_token_ids", request.eosTokenIds, vocabSize);
  return request.eosTokenIds;
}

/** The id that the client chose for its new session; undefined: none. */
export function chosenIdOf(value: string | undefined): string | undefined {
  if (value === undefined || isSessionId(value)) return value;
  const wrong = `the metadata kakeya-session is ${JSON.stringify(value.slice(0, 64))}`;
  throw invalid(`${wrong}; a new session's id is 192 random bits as 32 characters of base64url, or leave it out`);
}

/** Where in the history the call goes on. */
export function placedOf({ at, resume }: { at?: bigint | undefined; resume: boolean }): Placed {
  return at === undefined ? {} : { at: Number(at), resume };
}

export function appendedIdsOf(request: AppendTokensRequest, limits: RequestLimits): Uint32Array {
  const { tokenIds } = request;
  if (tokenIds.length > limits.maxAppendTokens) {
    throw new SessionError(
      "resource-exhausted",
      `token_ids holds ${tokenIds.length} ids; one AppendTokens takes at most ${limits.maxAppendTokens}: split it`,
    );
  }
  checkIds("token_ids", tokenIds, limits.vocabSize);
  return Uint32Array.from(tokenIds);
}

export interface Generation extends Placed {
  maxTokens: number;
  sampling: Sampling;
}

/** `entropy` draws the seed of a request that brings none. */
export function generationOf(request: GenerateRequest, entropy: () => bigint): Generation {
  const { maxTokens, temperature = 0, topK = 0, topP = 1 } = request;
  if (maxTokens === 0) throw invalid("max_tokens is 0; ask for at least 1");
  if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY)) {
    throw invalid(`temperature is ${temperature}; it must be 0 (greedy) or a positive number`);
  }
  if (!(topP > 0 && topP <= 1)) throw invalid(`top_p is ${topP}; it must be above 0 and at most 1`);
  const common = { maxTokens, ...placedOf(request) };
  if (temperature === 0) return { ...common, sampling: greedy };
  return { ...common, sampling: { temperature, topK, topP, seed: request.seed ?? entropy() } };
}

function checkIds(field: string, ids: readonly number[], vocabSize: number): void {
  const at = ids.findIndex((id) => id >= vocabSize);
  if (at >= 0) {
    throw invalid(`${field}[${at}] is ${ids[at]}; this model's vocabulary ends at ${vocabSize - 1}`);
  }
}

function invalid(message: string): SessionError {
  return new SessionError("invalid-argument", message);
}
