import type { Occupant } from "../kv/places.ts";
import { type ChunkRows, Slab } from "../kv/slab.ts";
import type { SlabMemory } from "../kv/slab-memory.ts";
import type { Sequence } from "./backend.ts";
import type { SavedSequence, SequenceState } from "./engine.ts";

/** What `save` says of the sequence itself; its backend adds what computed it. */
type OwnFacts = Pick<SavedSequence["facts"], "position" | "computedTokens" | "shift" | "best">;

/** All of one session on the CPU: its slab, its last logits and its counts. */
export class CpuSequence implements Sequence, Occupant {
  readonly #slab: Slab;
  #best = -1;
  #computedTokens = 0;

  constructor(
    private readonly memory: SlabMemory,
    place: number,
    readonly logits: Float32Array,
  ) {
    this.#slab = new Slab(memory, place);
  }

  get place(): number {
    return this.#slab.place;
  }

  set place(place: number) {
    this.#slab.place = place;
  }

  get position(): number {
    return this.#slab.position;
  }

  get best(): number {
    return this.#best;
  }

  get state(): SequenceState {
    const { rowCounts } = this.#slab;
    const rows = rowCounts.reduce((sum, count) => sum + count, 0);
    return {
      position: this.position,
      minRows: Math.min(...rowCounts),
      maxRows: Math.max(...rowCounts),
      liveBytes: (rows * this.memory.bytesPerToken) / this.memory.shape.layers,
      computedTokens: this.#computedTokens,
      // A NaN in a layer makes all logits NaN, and a model that gives NaN from the start is refused at load. So the
      // best logit speaks for all.
      finite: this.#best < 0 || Number.isFinite(this.logits[this.#best]),
    };
  }

  /** Before a chunk: puts the sinks where they belong for it. */
  prepare(): void {
    this.#slab.prepare();
  }

  /** Keeps the first `rows.count` tokens of a chunk, with the logits of the last of them and their argmax. */
  commit(rows: ChunkRows, outcome: { best: number; logits: Float32Array } | undefined): void {
    this.#slab.commit(rows);
    this.#computedTokens += rows.count;
    if (outcome === undefined) return;
    this.#best = outcome.best;
    this.logits.set(outcome.logits);
  }

  recount(): SequenceState {
    this.#slab.recount();
    return this.state;
  }

  corrupt(): void {
    this.#slab.damage();
  }

  save(): { facts: OwnFacts; body: Uint8Array } {
    const { facts, floats } = this.#slab.save(this.logits.length);
    floats.set(this.logits, floats.length - this.logits.length);
    return {
      facts: { ...facts, computedTokens: this.#computedTokens, best: this.#best },
      body: new Uint8Array(floats.buffer),
    };
  }

  /** Fills this sequence, which must be empty. @throws RangeError when the body is not of the facts' size */
  load(facts: OwnFacts, body: Uint8Array): void {
    // A copy, so that the floats are aligned.
    const all = new Float32Array(body.slice().buffer, 0, Math.floor(body.length / 4));
    const slabFloats = all.length - this.logits.length;
    if (slabFloats < 0 || body.length % 4 !== 0)
      throw new RangeError(`a saved sequence of ${body.length} bytes is damaged`);
    this.#slab.load(facts, all.subarray(0, slabFloats));
    this.logits.set(all.subarray(slabFloats));
    this.#best = facts.best;
    this.#computedTokens = facts.computedTokens;
  }
}
