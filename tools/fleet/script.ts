/** What the sessions of a trial say, and what a single engine that nothing happens to answers. */

import { type Engine, greedy, type SequenceId } from "../../src/engine/engine.ts";

export const answerTokens = 24;

/** The ids that a turn appends: another conversation for each script. */
export function idsOfTurn(script: number, turn: number): number[] {
  const count = 3 + ((script * 7 + turn * 5) % 20);
  return Array.from({ length: count }, (_, i) => (script * 131 + turn * 29 + i * 13 + 7) % 2000);
}

/** Answers of one engine alone, each computed once. */
export class Expected {
  readonly #scripts = new Map<number, { sequence: Promise<SequenceId>; turns: Promise<number[]>[] }>();

  constructor(private readonly engine: Engine) {}

  answer(script: number, turn: number): Promise<number[]> {
    const known = this.#scripts.get(script) ?? { sequence: this.engine.create(), turns: [] };
    this.#scripts.set(script, known);
    while (known.turns.length <= turn) {
      const at = known.turns.length;
      const before = known.turns[at - 1];
      known.turns.push(this.#turn(known.sequence, script, at, before));
    }
    return known.turns[turn] ?? Promise.resolve([]);
  }

  async #turn(opened: Promise<SequenceId>, script: number, turn: number, before?: Promise<number[]>) {
    await before;
    const sequence = await opened;
    await this.engine.append(sequence, Uint32Array.from(idsOfTurn(script, turn)));
    const ids: number[] = [];
    const request = { maxTokens: answerTokens, sampling: greedy, eosTokenIds: [], oneByOne: false };
    const generation = this.engine.generate(sequence, request, ({ tokenIds }) => ids.push(...tokenIds));
    generation.allow(answerTokens);
    await generation.ended;
    return ids;
  }
}
