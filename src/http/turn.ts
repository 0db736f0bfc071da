import { createHash } from "node:crypto";
import type { ChatMessage, Tool } from "../text/messages.ts";

/** The beginning of a conversation, which can't change later. */
export interface Root {
  /** The first system message. */
  system: string | undefined;
  /** `instructions` hold for one request, a message for all that follow it. */
  systemFrom: "instructions" | "message";
  tools: readonly Tool[];
  /** Of the model's own template. */
  variables: Readonly<Record<string, unknown>>;
}

/** The turns of one conversation and its branches that are kept, oldest first. */
export type Line = Set<Turn>;

/** A session of the store, for one conversation. Only one request uses it at a time. */
export interface Seat {
  readonly sessionId: string;
  /** Tokens that the engine has run for it so far, including those computed again. */
  readonly workTokens: number;
}

/** One question and its answer, after the turns before. */
export interface Turn {
  readonly before: Turn | undefined;
  readonly line: Line;
  readonly root: Root;
  /** The hash of the root and all messages, the answer included. */
  readonly digest: string;
  /** Length of the history at its end. */
  readonly tokens: number;
  readonly answerWas: "ended" | "cut";
  /** The messages that it added; undefined when they were forgotten. */
  added: Added | undefined;
  /** The session that it happened in. */
  readonly sessionId: string;
  /** Where it can be continued without computing it again. */
  seat: Seat | undefined;
}

export interface Added {
  readonly messages: readonly ChatMessage[];
  /** Appended and generated ones; undefined where they are in the journal of its session alone. */
  readonly ids: Uint32Array | undefined;
}

export function rootDigest({ system, tools, variables }: Root): string {
  return digest("", JSON.stringify([system ?? null, tools, variables]));
}

/**
 * A running hash: of what comes before and one more message, as clients send it. It leaves out thinking, which most
 * clients don't send back, and how a text was cut into ids, which no client knows.
 */
export function messageDigest(before: string, message: ChatMessage): string {
  const { role, content } = message;
  const calls = message.role === "assistant" ? (message.toolCalls ?? []) : [];
  const callId = message.role === "tool" ? message.toolCallId : "";
  return digest(before, JSON.stringify([role, content, calls.map((c) => [c.id, c.name, c.arguments]), callId]));
}

/** The session that the conversation began in: the same for all of its turns and branches. */
export function firstSessionOf(turn: Turn): string {
  let first = turn;
  while (first.before !== undefined) first = first.before;
  return first.sessionId;
}

/** All messages up to its end, without the root's; undefined when some of them were forgotten. */
export function messagesUpTo(turn: Turn): ChatMessage[] | undefined {
  return addedUpTo(turn)?.flatMap(({ messages }) => messages);
}

/** All ids up to its end; undefined when some of them were forgotten. */
export function idsUpTo(turn: Turn): Uint32Array | undefined {
  const added = addedUpTo(turn);
  if (added === undefined) return undefined;
  const ids = new Uint32Array(turn.tokens);
  let at = 0;
  for (const part of added) {
    if (part.ids === undefined) return undefined;
    ids.set(part.ids, at);
    at += part.ids.length;
  }
  return ids;
}

function addedUpTo(turn: Turn): Added[] | undefined {
  const all: Added[] = [];
  for (let at: Turn | undefined = turn; at !== undefined; at = at.before) {
    if (at.added === undefined) return undefined;
    all.push(at.added);
  }
  return all.reverse();
}

function digest(before: string, text: string): string {
  return createHash("sha256").update(before).update("\0").update(text).digest("base64");
}

/** A conversation as its root, which takes the system message that it begins with, and the messages after it. */
export function rootOf(
  messages: readonly ChatMessage[],
  { tools, variables }: Pick<Root, "tools" | "variables">,
): { root: Root; messages: ChatMessage[] } {
  const [first] = messages;
  const hasSystem = first?.role === "system";
  return {
    root: { system: hasSystem ? first.content : undefined, systemFrom: "message", tools, variables },
    messages: messages.slice(hasSystem ? 1 : 0),
  };
}
