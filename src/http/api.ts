import { randomBytes } from "node:crypto";
import type { Engine } from "../engine/engine.ts";
import type { Log } from "../host/log.ts";
import type { Metrics } from "../host/metrics.ts";
import type { SessionStore } from "../session/store.ts";
import { Answerer } from "./answer.ts";
import { createChatCompletion } from "./chat-completions.ts";
import { ConversationRoutes } from "./conversation-routes.ts";
import { Conversations } from "./conversation-store.ts";
import { Planner } from "./planner.ts";
import { ResponseRecords } from "./response-records.ts";
import { Responses } from "./responses.ts";
import type { Route } from "./router.ts";
import { Seats } from "./seats.ts";
import type { TextModel } from "./text-model.ts";
import type { TextState } from "./text-state.ts";
import { Turns } from "./turns.ts";

/** Bytes kept of conversations, besides their sessions. */
export const defaultMaxTurnBytes = 256 * 2 ** 20;

export interface ApiParts {
  engine: Engine;
  store: SessionStore;
  metrics: Metrics;
  log: Log;
  text: TextModel;
  /** Token ids in one prompt. */
  maxPromptTokens: number;
  /** Of conversations, to continue them. */
  maxTurnBytes: number;
  /** Where conversations outlive the server; undefined: nowhere. */
  state: TextState | undefined;
  /** Monotonic clock, in seconds. */
  now: () => number;
}

/** The paths that OpenAI's clients call for text. */
export function textRoutes(parts: ApiParts): Route[] {
  const { engine, store, metrics, log, text, maxTurnBytes, state } = parts;
  const { modelId, eosTokenIds } = engine.info;
  const seats = new Seats(store, eosTokenIds);
  const records = new ResponseRecords((turn, record) => state?.setResponse(turn, record));
  const conversations = new Conversations(state);
  const turns = new Turns(maxTurnBytes, {
    added(turn) {
      state?.addTurn(turn);
      seats.keep(turn);
    },
    forgotten: (turn) => {
      state?.forgetTurn(turn);
      records.forget(turn);
      conversations.forget(turn);
      seats.give(turn).catch((error: unknown) => log.warn("a session was not closed", { error: String(error) }));
    },
  });
  for (const stored of state?.conversations() ?? []) conversations.restore(stored);
  for (const { turn, record, added } of state?.turns() ?? []) {
    seats.keep(turn);
    turns.restore(turn);
    if (record !== undefined) records.restore(record);
    if (added !== undefined) conversations.restoreTurn(turn, added);
  }
  metrics.gauge("text_turn_bytes", "Bytes kept of conversations, to continue them", () => turns.bytes);
  const { maxPromptTokens, now } = parts;
  const planner = new Planner({ text, turns, maxPromptTokens });
  const answerer = new Answerer({ planner, store, text, turns, seats, metrics, eosTokenIds, now });
  const nowS = () => Math.floor(Date.now() / 1000);
  const entropy = () => randomBytes(8).readBigUInt64LE();
  const find = (id: string) => records.item(id) ?? conversations.item(id);
  const common = { answerer, modelId, log, entropy, nowS };
  const responses = new Responses({ ...common, records, conversations });
  const talks = new ConversationRoutes(conversations, find, nowS);
  return [
    { method: "POST", path: "/v1/chat/completions", handle: (call) => createChatCompletion(common, call) },
    { method: "POST", path: "/v1/responses", handle: (call) => responses.create(call) },
    { method: "GET", path: "/v1/responses/*", handle: (call) => responses.retrieve(call) },
    { method: "DELETE", path: "/v1/responses/*", handle: (call) => responses.delete(call) },
    { method: "GET", path: "/v1/responses/*/input_items", handle: (call) => responses.inputItems(call) },
    { method: "POST", path: "/v1/responses/*/cancel", handle: (call) => responses.cancel(call) },
    { method: "POST", path: "/v1/conversations", handle: (call) => talks.create(call) },
    { method: "GET", path: "/v1/conversations/*", handle: (call) => talks.retrieve(call) },
    { method: "POST", path: "/v1/conversations/*", handle: (call) => talks.update(call) },
    { method: "DELETE", path: "/v1/conversations/*", handle: (call) => talks.delete(call) },
    { method: "GET", path: "/v1/conversations/*/items", handle: (call) => talks.items(call) },
    { method: "POST", path: "/v1/conversations/*/items", handle: (call) => talks.addItems(call) },
    { method: "GET", path: "/v1/conversations/*/items/*", handle: (call) => talks.item(call) },
    { method: "DELETE", path: "/v1/conversations/*/items/*", handle: (call) => talks.deleteItem(call) },
  ];
}
