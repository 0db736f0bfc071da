import { invalid } from "./api-error.ts";

/** One page of a list, as `limit` (1 to 100), `order` and `after` ask for it; the newest come first. */
export function pageOf<T extends { id: string }>(query: URLSearchParams, oldestFirst: readonly T[]) {
  const limit = Number(query.get("limit") ?? 20);
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= 100)) {
    throw invalid("limit", `'limit' must be an integer from 1 to 100, not ${query.get("limit")}`);
  }
  const order = query.get("order") ?? "desc";
  if (order !== "asc" && order !== "desc") throw invalid("order", `'order' must be asc or desc, not ${order}`);
  const all = order === "asc" ? oldestFirst : oldestFirst.toReversed();
  const after = query.get("after");
  const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1;
  if (after !== null && from === 0) throw invalid("after", `'after' names no item of this list: ${after}`);
  const data = all.slice(from, from + limit);
  return {
    object: "list",
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: from + limit < all.length,
  };
}
