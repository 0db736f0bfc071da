import { chunkLength } from "../kv/geometry.ts";
import { Pool } from "../kv/pool.ts";
import type { ChunkRows, Slab, SlabMemory } from "../kv/slab.ts";
import type { Decoder } from "./decoder.ts";
import type { Decoded, DecodeRequest, SlabId, SlabState } from "./engine.ts";
import { sample } from "./sampling.ts";

interface Resident extends Slab {
  computedTokens: number;
  /** The argmax of the slab's last logits. */
  best: number;
  finite: boolean;
}

/** The engine inside its worker: slabs and tokens, one call after the other. */
export class EngineCore {
  readonly #pool: Pool;
  readonly #slabs = new Map<SlabId, Resident>();

  constructor(
    private readonly memory: SlabMemory,
    private readonly decoder: Decoder,
    private readonly vocabSize: number,
  ) {
    this.#pool = new Pool(memory.capacity);
  }

  createSlab(): SlabId {
    const { id, place } = this.#pool.create();
    this.#slabs.set(id, { ...this.memory.create(place), computedTokens: 0, best: -1, finite: true });
    return id;
  }

  freeSlab(id: SlabId): void {
    this.#pool.free(id);
    this.#slabs.delete(id);
  }

  async append(id: SlabId, tokenIds: Uint32Array): Promise<SlabState> {
    const slab = this.#slab(id);
    const place = this.#pool.place(id);
    if (tokenIds.length === 0) throw new RangeError("there are no tokens to append");
    const outside = tokenIds.find((token) => token >= this.vocabSize);
    if (outside !== undefined) {
      throw new RangeError(`token id ${outside} is outside the vocabulary of ${this.vocabSize} tokens`);
    }
    for (let done = 0; done < tokenIds.length; ) {
      const take = chunkLength(this.memory.geometry, slab.position, tokenIds.length - done);
      const chunk = { position: slab.position, tokenIds: tokenIds.subarray(done, done + take) };
      done += take;
      this.memory.prepare(slab, place);
      const { rows, best } = await this.decoder.step(place, [chunk], done === tokenIds.length);
      this.#commit(slab, place, { ...rows, index: 0, count: take }, best[0]);
    }
    return this.#describe(slab);
  }

  async decode(requests: DecodeRequest[]): Promise<Decoded[]> {
    const samplingOf = new Map(requests.map((request) => [request.slab, request.sampling]));
    const { first, ids } = this.#pool.gather([...samplingOf.keys()], (a, b) => {
      this.memory.swap(a, b);
      this.decoder.swap(a, b);
    });
    const batch = ids.map((id, i) => {
      const slab = this.#slab(id);
      const sampling = samplingOf.get(id);
      if (slab.position === 0 || !sampling) throw new RangeError(`slab ${id} holds no token to continue from`);
      const logits = this.decoder.logitsOf(first + i);
      const tokenId = sampling.temperature === 0 ? slab.best : sample(logits, sampling, slab.position);
      this.memory.prepare(slab, first + i);
      return { id, slab, tokenId };
    });
    const chunks = batch.map(({ slab, tokenId }) => ({ position: slab.position, tokenIds: [tokenId] }));
    const { rows, best } = await this.decoder.step(first, chunks, true);
    const decoded = new Map(
      batch.map(({ id, slab, tokenId }, i) => {
        this.#commit(slab, first + i, { ...rows, index: i, count: 1 }, best[i]);
        return [id, { tokenId, state: this.#describe(slab) }];
      }),
    );
    return requests.flatMap((request) => decoded.get(request.slab) ?? []);
  }

  state(id: SlabId): SlabState {
    const slab = this.#slab(id);
    this.memory.recount(slab, this.#pool.place(id));
    return this.#describe(slab);
  }

  corrupt(id: SlabId): void {
    this.memory.damage(this.#slab(id), this.#pool.place(id));
  }

  /** The last logits of a slab, [vocab]; valid until its next token. */
  logits(id: SlabId): Float32Array {
    return this.decoder.logitsOf(this.#pool.place(id));
  }

  async close(): Promise<void> {
    await this.decoder.close();
  }

  #slab(id: SlabId): Resident {
    const slab = this.#slabs.get(id);
    if (!slab) throw new RangeError(`there is no slab ${id}`);
    return slab;
  }

  #commit(slab: Resident, place: number, rows: ChunkRows, best: number | undefined): void {
    this.memory.commit(slab, place, rows);
    slab.computedTokens += rows.count;
    if (best === undefined) return;
    slab.best = best;
    // What is no number in a layer makes all logits none, and one that is none from the start is refused at load; so
    // the best one speaks for all.
    slab.finite = Number.isFinite(this.decoder.logitsOf(place)[best]);
  }

  #describe(slab: Resident): SlabState {
    const { kvHeads, headDim } = this.memory.shape;
    const counts = slab.rowCounts;
    const rows = counts.reduce((sum, count) => sum + count, 0);
    return {
      position: slab.position,
      minRows: Math.min(...counts),
      maxRows: Math.max(...counts),
      liveBytes: rows * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT * 2,
      computedTokens: slab.computedTokens,
      finite: slab.finite,
    };
  }
}
