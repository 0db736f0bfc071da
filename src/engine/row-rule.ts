import { block } from "../kv/geometry.ts";
import type { Backend, Ran, Sequence } from "./backend.ts";

/**
 * The bits that a kernel computes for a row depend on how many rows there are, by a rule of the kernel and the
 * processor: not at all, or only on whether they are even, or a multiple of four, and so on. A step that runs such a
 * multiple gives each row the same bits as any other such step. `block` means: always as many rows as a block has
 * tokens.
 */
const rowMultiples = [1, 2, 4, 8, 16, block] as const;
export type RowMultiple = (typeof rowMultiples)[number];

/** Numbers of rows that are tried: what remains of a tile of 2, 4, 8 or 16 rows, in small steps and in large ones. */
const probes = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 18, 20, 24, 28];

/** The size of a step of n sequences with `tokens` rows each, padded to a multiple of rows at the least cost. */
export function stepSize(
  n: number,
  tokens: number,
  capacity: number,
  multiple: RowMultiple,
): { n: number; tokens: number } {
  let least = { n, tokens: Math.ceil(tokens / multiple) * multiple };
  // More sequences can fill up the rows, too: three of one token become four rows with another sequence, or six with a
  // second token.
  for (let more = n; more <= Math.min(capacity, n + multiple); more++) {
    const fit = { n: more, tokens: leastTokens(more, tokens, multiple) };
    if (fit.n * fit.tokens < least.n * least.tokens) least = fit;
  }
  return least;
}

function leastTokens(n: number, tokens: number, multiple: number): number {
  let fit = tokens;
  while ((n * fit) % multiple !== 0) fit++;
  return fit;
}

/** Runs steps with as many rows as they have tokens, or padded to a multiple. */
export interface Padded {
  rowMultiple: RowMultiple;
}

/** What was found when a model was loaded. */
export interface Settled {
  /** Whether the bits stay the same however a history is cut and whoever else is in the step (INV-3). */
  exact: boolean;
  /** Whether the model computes finite numbers. */
  finite: boolean;
}

/** Finds the cheapest rule that holds on the real weights and this device, and leaves `steps` set to it. */
export async function settleRowRule<S extends Sequence>(backend: Backend<S>, steps: Padded): Promise<Settled> {
  steps.rowMultiple = 1;
  const same = await sameAsWholeBlock(backend);
  const holds = (multiple: number) => probes.every((rows) => rows % multiple !== 0 || same.get(rows) === true);
  steps.rowMultiple = rowMultiples.find(holds) ?? block;
  return cutsGiveSameBits(backend);
}

/** By number of rows: whether a step of that many gives each row the bits that it has in a step of a whole block. */
async function sameAsWholeBlock<S extends Sequence>(backend: Backend<S>): Promise<Map<number, boolean>> {
  const sequence = await atBlockStart(backend);
  const tokenIds = someIds(backend, block);
  const bits = (ran: Ran, t: number) => Bun.hash(ran.logits(0, t));
  const whole = await backend.run([{ sequence, tokenIds }], "all");
  const expected = tokenIds.map((_, t) => bits(whole, t));
  const same = new Map<number, boolean>();
  for (const rows of probes) {
    const ran = await backend.run([{ sequence, tokenIds: tokenIds.slice(0, rows) }], "all");
    same.set(
      rows,
      expected.slice(0, rows).every((hash, t) => bits(ran, t) === hash),
    );
  }
  backend.free(sequence);
  return same;
}

/**
 * Runs nine tokens in one piece, then cut in pieces with the last token in a batch, and compares the bits of its
 * logits.
 */
async function cutsGiveSameBits<S extends Sequence>(backend: Backend<S>): Promise<Settled> {
  const tokenIds = someIds(backend, 9);
  const whole = await atBlockStart(backend);
  const ran = await backend.run([{ sequence: whole, tokenIds }], "last");
  const expected = Bun.hash(ran.logits(0, 8));
  const finite = ran.logits(0, 8).every(Number.isFinite);
  backend.free(whole);

  const cut = await atBlockStart(backend);
  for (const piece of [tokenIds.slice(0, 1), tokenIds.slice(1, 8)]) {
    await (await backend.run([{ sequence: cut, tokenIds: piece }], "none")).commit(0, piece.length);
  }
  const others = await roomForOthers(backend);
  const batch = [cut, ...others].map((sequence, i) => ({ sequence, tokenIds: [tokenIds[8 - i] ?? 0] }));
  const last = await backend.run(batch, "last");
  const exact = Bun.hash(last.logits(0, 0)) === expected;
  for (const { sequence } of batch) backend.free(sequence);
  return { exact, finite };
}

/** Up to two more sequences, as far as there is room. */
async function roomForOthers<S extends Sequence>(backend: Backend<S>): Promise<S[]> {
  const others: S[] = [];
  while (others.length < Math.min(2, backend.capacity - 1)) others.push(await atBlockStart(backend));
  return others;
}

/** A new sequence whose next token is the first of a block that has room for all of its tokens. */
async function atBlockStart<S extends Sequence>(backend: Backend<S>): Promise<S> {
  const sequence = backend.create();
  const { sink } = backend.geometry;
  if (sink === 0 || sink >= block) return sequence;
  await (await backend.run([{ sequence, tokenIds: someIds(backend, sink) }], "none")).commit(0, sink);
  return sequence;
}

function someIds({ vocabSize }: Backend, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i + 1) % vocabSize);
}
