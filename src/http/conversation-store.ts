import { ApiError, invalid, notFound } from "./api-error.ts";
import { newId } from "./ids.ts";
import type { Item } from "./items.ts";
import type { ResponseRecord } from "./response-records.ts";
import type { StoredConversation, TextState } from "./text-state.ts";
import type { Turn } from "./turn.ts";

/** Items that wait for a response, in all conversations together. */
const mostPendingChars = 16 * 2 ** 20;
const mostConversations = 4096;

export type Conversation = ConversationState;

class ConversationState {
  /** Its last turn; undefined before its first response. */
  turn: Turn | undefined;
  isBusy = false;
  #pending: readonly Item[] = [];
  #pendingChars = 0;
  readonly #items = new Map<Turn, readonly Item[]>();

  constructor(
    readonly id: string,
    readonly createdAtS: number,
    public metadata: Record<string, string>,
    private readonly onTurn: (conversation: Conversation, turn: Turn, items: readonly Item[]) => void,
  ) {}

  /** Oldest first. */
  get items(): Item[] {
    return [...[...this.#items.values()].flat(), ...this.pending];
  }

  /** Said, but not part of a turn yet. */
  get pending(): readonly Item[] {
    return this.#pending;
  }

  set pending(items: readonly Item[]) {
    this.#pending = items;
    this.#pendingChars = JSON.stringify(items).length;
  }

  get pendingChars(): number {
    return this.#pendingChars;
  }

  /** A response has answered what was pending. */
  add({ response, input, turn }: ResponseRecord): void {
    const items = [...this.pending, ...input, ...response.output];
    this.pending = [];
    this.restore(turn, items);
    this.onTurn(this, turn, items);
  }

  restore(turn: Turn, items: readonly Item[]): void {
    this.#items.set(turn, items);
    this.turn = turn;
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

  /** @param state where they outlive the server; undefined: nowhere */
  constructor(private readonly state: TextState | undefined) {}

  create(metadata: Record<string, string>, pending: Item[], createdAtS: number): Conversation {
    const conversation = this.#added({ id: newId("conv"), createdAtS, metadata, pending });
    this.state?.saveConversation(conversation);
    this.#makeRoom(conversation);
    return conversation;
  }

  /** One from before this server's start. */
  restore(stored: StoredConversation): void {
    this.#added(stored);
  }

  restoreTurn(turn: Turn, { conversationId, items }: { conversationId: string; items: Item[] }): void {
    const conversation = this.#byId.get(conversationId);
    conversation?.restore(turn, items);
    if (conversation !== undefined) this.#byTurn.set(turn, conversation);
  }

  changed(conversation: Conversation): void {
    this.state?.saveConversation(conversation);
  }

  #added({ id, createdAtS, metadata, pending }: StoredConversation): Conversation {
    const conversation = new ConversationState(id, createdAtS, metadata, (one, turn, items) => {
      this.#byTurn.set(turn, one);
      this.state?.addToConversation(turn, one.id, items);
      this.changed(one);
    });
    conversation.pending = pending;
    this.#byId.set(id, conversation);
    return conversation;
  }

  get(id: string): Conversation {
    const conversation = this.#byId.get(id);
    if (conversation === undefined) throw notFound("Conversation", id);
    this.#byId.delete(id);
    this.#byId.set(id, conversation);
    return conversation;
  }

  /** Nobody else uses it until its `end`. */
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
    this.changed(conversation);
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
    this.changed(conversation);
  }

  remove(conversation: Conversation): void {
    this.state?.removeConversation(conversation.id);
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
    if (conversation?.turn === turn && !conversation.isBusy) this.remove(conversation);
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
