import { invalid, notFound } from "./api-error.ts";
import type { Call } from "./call.ts";
import type { Conversations } from "./conversation-store.ts";
import { Fields } from "./fields.ts";
import { type FindItem, readInput } from "./items.ts";
import { pageOf } from "./listing.ts";
import { metadataOf } from "./request-fields.ts";

/** Items that one request brings. */
const mostItems = 20;

/** /v1/conversations */
export class ConversationRoutes {
  constructor(
    private readonly conversations: Conversations,
    private readonly find: FindItem,
    /** Wall clock, in seconds. */
    private readonly nowS: () => number,
  ) {}

  async create(call: Call): Promise<Response> {
    const fields = new Fields(await call.body({ orEmpty: true }));
    const items = this.#itemsOf(fields);
    const metadata = metadataOf(fields);
    fields.refuseOthers();
    return Response.json(this.conversations.create(metadata, items, this.nowS()).onWire);
  }

  retrieve(call: Call): Response {
    return Response.json(this.conversations.get(call.param(0)).onWire);
  }

  async update(call: Call): Promise<Response> {
    const conversation = this.conversations.get(call.param(0));
    const fields = new Fields(await call.body());
    const metadata = metadataOf(fields);
    fields.refuseOthers();
    conversation.metadata = metadata;
    this.conversations.changed(conversation);
    return Response.json(conversation.onWire);
  }

  delete(call: Call): Response {
    const conversation = this.conversations.begin(call.param(0));
    this.conversations.remove(conversation);
    return Response.json({ id: conversation.id, object: "conversation.deleted", deleted: true });
  }

  async addItems(call: Call): Promise<Response> {
    const fields = new Fields(await call.body());
    fields.required("items", fields.peek("items"));
    const items = this.#itemsOf(fields);
    fields.refuseOthers();
    const conversation = this.conversations.begin(call.param(0));
    try {
      this.conversations.addItems(conversation, items);
    } finally {
      conversation.end();
    }
    return Response.json(pageOf(new URLSearchParams({ order: "asc", limit: "100" }), items));
  }

  items(call: Call): Response {
    return Response.json(pageOf(call.url.searchParams, this.conversations.get(call.param(0)).items));
  }

  item(call: Call): Response {
    const item = this.conversations.get(call.param(0)).items.find(({ id }) => id === call.param(1));
    if (item === undefined) throw notFound("Item", call.param(1));
    return Response.json(item);
  }

  deleteItem(call: Call): Response {
    const conversation = this.conversations.begin(call.param(0));
    try {
      this.conversations.removeItem(conversation, call.param(1));
    } finally {
      conversation.end();
    }
    return Response.json(conversation.onWire);
  }

  #itemsOf(fields: Fields) {
    const given = fields.list("items") ?? [];
    if (given.length > mostItems) throw invalid("items", `'items' holds ${given.length}; at most ${mostItems} at once`);
    return readInput(given, "items", this.find);
  }
}
