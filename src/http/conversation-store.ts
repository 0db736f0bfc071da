import { ApiError, invalid, notFound } from "./api-error.ts";
import { newId } from "./ids.ts";
import type { Item } from "./items.ts";
import type { ResponseRecord } from "./response-records.ts";
import type { Turn } from "./turn.ts";

/** Items that wait for a response, in all conversations together. */
const mostPendingChars = 16 * 2 ** 20;
const mostConversations = 4096;

export type Conversation = ConversationState;

class ConversationState {
  readonly id = newId("conv");
  /** Said, but not part of a turn yet. */
  pending: Item[] = [];
  /** Where it stands; undefined before its first response. */
  turn: Turn | undefined;
  isBusy = false;
  readonly #items = new Map<Turn, readonly Item[]>();

  constructor(
    readonly createdAtS: number,
    public metadata: Record<string, string>,
    private readonly onTurn: (conversation: Conversation, turn: Turn) => void,
  ) {}

  /** Oldest first. */
  get items(): Item[] {
    return [...[...this.#items.values()].flat(), ...this.pending];
  }

  get pendingChars(): number {
    return this.pending.reduce((chars, item) => chars + JSON.stringify(item).length, 0);
  }

  /** A response has answered what was pending. */
  add({ response, input, turn }: ResponseRecord): void {
    this.#items.set(turn, [...this.pending, ...input, ...response.output]);
    this.pending = [];
    this.turn = turn;
    this.onTurn(this, turn);
  }

  forget(turn: Turn): void {
    this.#items.delete(turn);
  }

  end(): void {
    this.isBusy = false;
  }

  get onWire() {
    return { id: this.id, object: "conversation", created_at: this.createdAtS, metadata: this.metadata };
  }
}

/** Conversations are kept for as long as their last turn is; those that were used longest ago go first. */
export class Conversations {
  /** Least recently used first. */
  readonly #byId = new Map<string, Conversation>();
  readonly #byTurn = new Map<Turn, Conversation>();

  create(metadata: Record<string, string>, items: Item[], nowS: number): Conversation {
    const conversation = new ConversationState(nowS, metadata, (one, turn) => this.#byTurn.set(turn, one));
    conversation.pending = items;
    this.#byId.set(conversation.id, conversation);
    this.#makeRoom(conversation);
    return conversation;
  }

  get(id: string): Conversation {
    const conversation = this.#byId.get(id);
    if (conversation === undefined) throw notFound("Conversation", id);
    this.#byId.delete(id);
    this.#byId.set(id, conversation);
    return conversation;
  }

  /** Alone with it, until its `end`. */
  begin(id: string): Conversation {
    const conversation = this.get(id);
    if (conversation.isBusy) {
      const message = `Another request is under way in this conversation; wait until it has ended.`;
      throw new ApiError(message, { status: 409, param: "conversation", code: "conversation_locked" });
    }
    conversation.isBusy = true;
    return conversation;
  }

  addItems(conversation: Conversation, items: readonly Item[]): void {
    conversation.pending = [...conversation.pending, ...items];
    this.#makeRoom(conversation);
  }

  /** @throws ApiError for what is part of the history already: a session can't take back what it was told */
  removeItem(conversation: Conversation, itemId: string): void {
    if (!conversation.items.some(({ id }) => id === itemId)) throw notFound("Item", itemId);
    const rest = conversation.pending.filter(({ id }) => id !== itemId);
    if (rest.length === conversation.pending.length) {
      throw invalid("item_id", "this item was answered: a session can't forget it; begin another conversation");
    }
    conversation.pending = rest;
  }

  remove(conversation: Conversation): void {
    this.#byId.delete(conversation.id);
    for (const [turn, one] of this.#byTurn) if (one === conversation) this.#byTurn.delete(turn);
  }

  item(id: string): Item | undefined {
    for (const conversation of this.#byId.values()) {
      const found = conversation.items.find((item) => item.id === id);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  forget(turn: Turn): void {
    const conversation = this.#byTurn.get(turn);
    this.#byTurn.delete(turn);
    conversation?.forget(turn);
    if (conversation?.turn === turn && !conversation.isBusy) this.#byId.delete(conversation.id);
  }

  #makeRoom(kept: Conversation): void {
    let chars = 0;
    for (const { pendingChars } of this.#byId.values()) chars += pendingChars;
    for (const oldest of this.#byId.values()) {
      if (this.#byId.size <= mostConversations && chars <= mostPendingChars) return;
      if (oldest === kept) continue;
      chars -= oldest.pendingChars;
      this.remove(oldest);
    }
  }
}
