import type { Decoded, DecodeRequest, Engine, Sampling, SlabId, SlabState } from "../engine/engine.ts";
import { chunkLength, type Geometry, geometry } from "../kv/geometry.ts";

/** Sees each slice of an append as it lands in the cache. Throwing ends the append. */
export type OnSlice = (ran: number, state: SlabState) => void;

interface Prefill {
  slab: SlabId;
  /** Position of the next token to run. */
  position: number;
  /** What is still to run. */
  rest: Uint32Array;
  onSlice: OnSlice;
  resolve: () => void;
  reject: (error: unknown) => void;
}

interface Decode extends DecodeRequest {
  signal: AbortSignal | undefined;
  resolve: (decoded: Decoded) => void;
  reject: (error: unknown) => void;
}

/**
 * What runs next on the engine: in each round one decode step of every session that waits for its next id,
 * then one slice of one append. So sessions decode together, appends take turns, and neither starves the other.
 *
 * A stream whose reader is slow does not ask for its next id, and so takes no part in the step: nothing queues up.
 */
export class Scheduler {
  readonly #prefills: Prefill[] = [];
  #decodes: Decode[] = [];
  #running = false;
  readonly #geometry: Geometry;

  constructor(private readonly engine: Engine) {
    this.#geometry = geometry(engine.info.sink, engine.info.window);
  }

  /** Appends and steps that wait for the engine. */
  get depth(): number {
    return this.#prefills.length + this.#decodes.length;
  }

  /** Runs `tokenIds` from `position` on, block by block; resolves when all of them are cached. */
  prefill(slab: SlabId, position: number, tokenIds: Uint32Array, onSlice: OnSlice): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#prefills.push({ slab, position, rest: tokenIds, onSlice, resolve, reject });
      this.#wake();
    });
  }

  /**
   * Takes part in the next decode step; resolves with the id it committed. A caller that gives up before the
   * step begins takes no part in it; once it has begun, its id is committed.
   */
  decode(slab: SlabId, sampling: Sampling, signal?: AbortSignal): Promise<Decoded> {
    return new Promise((resolve, reject) => {
      this.#decodes.push({ slab, sampling, signal, resolve, reject });
      this.#wake();
    });
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    do {
      // Lets the readers of the last step ask for their next id, so that they share a step again, and gives
      // the event loop a breath.
      await pause();
      await this.#step();
      await this.#slice();
    } while (this.depth > 0);
    this.#running = false;
  }

  async #step(): Promise<void> {
    const batch: Decode[] = [];
    for (const request of this.#decodes) {
      if (request.signal?.aborted) request.reject(request.signal.reason);
      else batch.push(request);
    }
    this.#decodes = [];
    if (batch.length === 0) return;
    try {
      const decoded = await this.engine.decode(batch.map(({ slab, sampling }) => ({ slab, sampling })));
      for (const [i, request] of batch.entries()) {
        const own = decoded[i];
        if (own === undefined) throw new Error(`the engine answered ${decoded.length} of ${batch.length} steps`);
        request.resolve(own);
      }
    } catch (error) {
      for (const request of batch) request.reject(error);
    }
  }

  async #slice(): Promise<void> {
    const prefill = this.#prefills.shift();
    if (prefill === undefined) return;
    // A copy: a view would carry its whole buffer into the engine's thread.
    const slice = prefill.rest.slice(0, chunkLength(this.#geometry, prefill.position, prefill.rest.length));
    try {
      const state = await this.engine.append(prefill.slab, slice);
      prefill.position += slice.length;
      prefill.rest = prefill.rest.subarray(slice.length);
      prefill.onSlice(slice.length, state);
    } catch (error) {
      prefill.reject(error);
      return;
    }
    if (prefill.rest.length > 0) this.#prefills.push(prefill);
    else prefill.resolve();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
