import { ApiError, notFound } from "./api-error.ts";
import type { Item } from "./items.ts";
import type { ResponseObject } from "./response-object.ts";
import type { Turn } from "./turn.ts";

export interface ResponseRecord {
  response: ResponseObject;
  input: readonly Item[];
  turn: Turn;
}

/** Stored responses and their items; each is kept for as long as its turn is. */
export class ResponseRecords {
  readonly #byId = new Map<string, ResponseRecord>();
  readonly #byTurn = new Map<Turn, ResponseRecord>();
  readonly #items = new Map<string, Item>();

  /** @param onChange told what is stored for a turn from now on */
  constructor(private readonly onChange: (turn: Turn, record: ResponseRecord | undefined) => void) {}

  add(record: ResponseRecord): void {
    this.onChange(record.turn, record);
    this.restore(record);
  }

  /** One from before this server's start. */
  restore(record: ResponseRecord): void {
    this.#byId.set(record.response.id, record);
    this.#byTurn.set(record.turn, record);
    for (const item of [...record.input, ...record.response.output]) this.#items.set(item.id, item);
  }

  get(id: string): ResponseRecord {
    const record = this.#byId.get(id);
    if (record === undefined) throw notFound("Response", id);
    return record;
  }

  /** The response that a request continues. */
  previous(id: string): ResponseRecord {
    const record = this.#byId.get(id);
    if (record !== undefined) return record;
    const message = `Previous response with id '${id.slice(0, 80)}' not found.`;
    throw new ApiError(message, {
      status: 400,
      param: "previous_response_id",
      code: "previous_response_not_found",
    });
  }

  item(id: string): Item | undefined {
    return this.#items.get(id);
  }

  remove({ response, input, turn }: ResponseRecord): void {
    this.onChange(turn, undefined);
    this.#byId.delete(response.id);
    this.#byTurn.delete(turn);
    for (const item of [...input, ...response.output]) this.#items.delete(item.id);
  }

  forget(turn: Turn): void {
    const record = this.#byTurn.get(turn);
    if (record !== undefined) this.remove(record);
  }
}
