import type { ChatMessage } from "../text/messages.ts";
import { type Line, messageDigest, type Root, rootDigest, type Turn } from "./turn.ts";

export interface KnownBeginning {
  /** The turn that ends it; undefined when none is known. */
  turn: Turn | undefined;
  /** Messages that come after it. */
  rest: ChatMessage[];
}

export interface TurnEvents {
  added(turn: Turn): void;
  /** It is not kept any more. */
  forgotten(turn: Turn): void;
}

/**
 * The turns that can be continued, found by what was said, and bounded by their bytes. The conversation that was used
 * longest ago is forgotten first, as a whole; one that is too long by itself loses its oldest turns, and goes on for as
 * long as its session lives.
 */
export class Turns {
  readonly #byDigest = new Map<string, Turn>();
  /** Least recently used first. */
  readonly #lines = new Set<Line>();
  #bytes = 0;

  constructor(
    private readonly maxBytes: number,
    private readonly events: TurnEvents,
  ) {}

  get bytes(): number {
    return this.#bytes;
  }

  add(turn: Turn): void {
    this.events.added(turn);
    this.restore(turn);
  }

  /** A turn from before this server's start. */
  restore(turn: Turn): void {
    this.#byDigest.set(turn.digest, turn);
    turn.line.add(turn);
    this.#bytes += bytesOf(turn);
    this.#lines.delete(turn.line);
    this.#lines.add(turn.line);
    while (this.#bytes > this.maxBytes && this.#forgetOldest(turn));
  }

  forget(turn: Turn): void {
    if (!turn.line.delete(turn)) return;
    if (turn.line.size === 0) this.#lines.delete(turn.line);
    if (this.#byDigest.get(turn.digest) === turn) this.#byDigest.delete(turn.digest);
    this.#bytes -= bytesOf(turn);
    turn.added = undefined;
    this.events.forgotten(turn);
  }

  /** Forgets a turn, unless others stand on it. */
  forgetLast(turn: Turn): void {
    if (![...turn.line].some(({ before }) => before === turn)) this.forget(turn);
  }

  /** The longest beginning of a conversation that ends with a known answer. */
  longestBeginning(root: Root, messages: readonly ChatMessage[]): KnownBeginning {
    let digest = rootDigest(root);
    let known: KnownBeginning = { turn: undefined, rest: [...messages] };
    for (const [index, message] of messages.entries()) {
      digest = messageDigest(digest, message);
      const turn = message.role === "assistant" ? this.#byDigest.get(digest) : undefined;
      if (turn !== undefined) known = { turn, rest: messages.slice(index + 1) };
    }
    return known;
  }

  /** @returns whether there was another one than `kept` */
  #forgetOldest(kept: Turn): boolean {
    const [line] = this.#lines;
    if (line === undefined) return false;
    const turns = line === kept.line ? [...line].slice(0, 1) : [...line];
    if (turns[0] === kept) return false;
    for (const turn of turns) this.forget(turn);
    return true;
  }
}

/** About as much as it takes in memory: its texts are held as messages and as items of a response. */
function bytesOf({ added }: Turn): number {
  const texts = added?.messages.reduce((bytes, { content }) => bytes + 4 * content.length, 0) ?? 0;
  return 2048 + (added?.ids?.byteLength ?? 0) + texts;
}
