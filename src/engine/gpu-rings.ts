import type { ModelConfig } from "../checkpoint/config.ts";
import { joinRings, newRings, type Ring, ringOf, ringsOf, ringValues, writeRings } from "../graph/ring-graph.ts";
import type { Geometry } from "../kv/geometry.ts";
import type { RemoteRows } from "../kv/remote-rows.ts";
import { emptyWord } from "../kv/rows.ts";
import { Tensor } from "../ort/index.ts";
import type { OutputPlace } from "../ort/session-options.ts";
import { GpuSession } from "./gpu-session.ts";

/** The rings of one sequence, by the names of the decoder's inputs. */
type Tensors = Record<string, Tensor>;

const emptyFloat = new Float32Array(Uint32Array.of(emptyWord).buffer);

/**
 * The rings of all sequences on the GPU. They change once a block, in one run that also says which of their rows hold a
 * token. A step of one sequence reads its rings as they are; one of several reads copies that lie side by side, made
 * when those who share a step change, or one of them has filled a block.
 */
export class GpuRings {
  /** By ring id. */
  readonly #tensors: Tensors[] = [];
  readonly #joins = new Map<string, GpuSession>();
  /** What the last step of several sequences read, and of which tensors it was made. */
  #joined: { of: readonly Tensors[]; tensors: Tensors } | undefined;

  private constructor(
    private readonly config: ModelConfig,
    private readonly geometry: Geometry,
    private readonly rows: readonly { key: RemoteRows; value: RemoteRows }[],
    private readonly rings: readonly Ring<number>[],
    private readonly fill: GpuSession,
    private readonly write: GpuSession,
  ) {}

  /** Allocates the rings of `capacity` sequences, all rows empty. */
  static async open(
    config: ModelConfig,
    geometry: Geometry,
    capacity: number,
    rows: readonly { key: RemoteRows; value: RemoteRows }[],
  ): Promise<GpuRings> {
    const rings = ringsOf(config, 1, geometry.ringRows);
    const kept: Record<string, OutputPlace> = Object.fromEntries(rings.map(({ value }) => [value.name, "gpu-buffer"]));
    const fill = await GpuSession.create(newRings(config, emptyFloat), kept);
    const places: Record<string, OutputPlace> = { [ringValues.firstWords]: "cpu" };
    for (const { value } of rings) places[ringValues.written(value.name)] = "gpu-buffer";
    const write = await GpuSession.create(writeRings(config), places);
    const opened = new GpuRings(config, geometry, rows, rings, fill, write);
    for (let id = 0; id < capacity; id++) opened.#tensors.push(await opened.#empty());
    return opened;
  }

  /** What a step of the places `first` to `first + n - 1` reads. */
  async feeds(first: number, n: number): Promise<Tensors> {
    const places = Array.from({ length: n }, (_, i) => first + i);
    for (const place of places) {
      const { cleared, fresh } = this.#rowsOf(this.rings[0]).pending(place);
      if (cleared || fresh.size > 0) await this.settle(place);
    }
    const own = places.map((place) => this.#tensorsOf(place));
    const [only] = own;
    return n === 1 && only ? only : await this.#join(own);
  }

  /** Carries out what is pending for the rings of a place, and learns from them which rows are live. */
  async settle(place: number): Promise<void> {
    const feeds: Tensors = {};
    const fetches: Record<string, null> = { [ringValues.firstWords]: null };
    for (const part of ["k", "v"] as const) {
      const ring = this.rings.find((each) => each.part === part);
      feeds[ringValues.slots(part)] = this.#slots(part, [...this.#rowsOf(ring).pending(place).fresh.keys()]);
    }
    for (const ring of this.rings) {
      const { name } = ring.value;
      const { fresh, erased } = this.#rowsOf(ring).pending(place);
      const numbers = new Float32Array(fresh.size * this.config.kvHeads * this.config.headDim);
      let at = 0;
      for (const row of fresh.values()) {
        numbers.set(row, at);
        at += row.length;
      }
      const shape = ring.part === "k" ? [at] : [at / this.config.headDim, this.config.headDim];
      feeds[ringValues.fresh(name)] = new Tensor("float32", numbers, shape);
      const first = ring.part === "k" ? (row: number) => [0, 0, 0, row] : (row: number) => [0, 0, row, 0];
      feeds[ringValues.erased(name)] = indices([...erased].map(first), 4);
      const marks = new Float32Array(erased.size).fill(emptyFloat[0] ?? 0);
      feeds[ringValues.marks(name)] = new Tensor("float32", marks, [erased.size]);
      fetches[ringValues.written(name)] = null;
    }
    if (this.#rowsOf(this.rings[0]).pending(place).cleared) this.#replace(place, await this.#empty());
    const written = await this.write.run({ ...this.#tensorsOf(place), ...feeds }, fetches);
    const own: Tensors = {};
    for (const { value } of this.rings) own[value.name] = named(written, ringValues.written(value.name));
    this.#replace(place, own);
    const words = floats(named(written, ringValues.firstWords));
    const bits = new Uint32Array(words.buffer, words.byteOffset, words.length);
    const { ringRows } = this.geometry;
    for (const [i, ring] of this.rings.entries()) {
      this.#rowsOf(ring).settled(place, bits.subarray(i * ringRows, (i + 1) * ringRows));
    }
  }

  /** Settles the rings of a place, and lets their rows be read by `work`. */
  async reading<T>(place: number, work: () => T): Promise<T> {
    await this.settle(place);
    const read = await this.#joinOf(1, "cpu");
    const copies = await read.run(renamed([this.#tensorsOf(place)]), this.#allRings());
    for (const ring of this.rings) {
      const copy = floats(named(copies, ring.value.name));
      this.#rowsOf(ring).copied(place, ring.part === "k" ? this.#inRows(copy) : copy);
    }
    try {
      return work();
    } finally {
      for (const ring of this.rings) this.#rowsOf(ring).copied(place, undefined);
    }
  }

  async close(): Promise<void> {
    if (this.#joined) disposeAll(this.#joined.tensors);
    for (const own of this.#tensors) disposeAll(own);
    for (const session of [...this.#joins.values(), this.write, this.fill]) await session.release();
  }

  /** New rings without a live row: what an earlier sequence left may not even be finite numbers. */
  async #empty(): Promise<Tensors> {
    const feeds: Tensors = {};
    for (const { part, value } of this.rings.slice(0, 2)) {
      feeds[ringValues.shape(part)] = new Tensor("int64", BigInt64Array.from(value.shape, BigInt), [4]);
    }
    return { ...(await this.fill.run(feeds, this.#allRings())) };
  }

  #replace(place: number, tensors: Tensors): void {
    disposeAll(this.#tensorsOf(place));
    this.#tensors[this.#idOf(place)] = tensors;
  }

  #allRings(): Record<string, null> {
    return Object.fromEntries(this.rings.map(({ value }) => [value.name, null]));
  }

  async #join(own: readonly Tensors[]): Promise<Tensors> {
    const before = this.#joined;
    if (before?.of.length === own.length && own.every((tensors, i) => tensors === before.of[i])) return before.tensors;
    this.#joined = undefined;
    if (before) disposeAll(before.tensors);
    const join = await this.#joinOf(own.length, "gpu-buffer");
    const tensors: Tensors = { ...(await join.run(renamed(own), this.#allRings())) };
    this.#joined = { of: own, tensors };
    return tensors;
  }

  async #joinOf(n: number, place: OutputPlace): Promise<GpuSession> {
    const key = `${n} ${place}`;
    const known = this.#joins.get(key);
    if (known) return known;
    const places = Object.fromEntries(this.rings.map(({ value }) => [value.name, place]));
    const session = await GpuSession.create(joinRings(this.config, n), places);
    this.#joins.set(key, session);
    return session;
  }

  /** Where the numbers of the rows [rows, kvHeads, headDim] go. */
  #slots(part: "k" | "v", rows: readonly number[]): Tensor {
    const { kvHeads, headDim } = this.config;
    const heads = Array.from({ length: kvHeads }, (_, head) => head);
    const dims = Array.from({ length: headDim }, (_, dim) => dim);
    if (part === "v")
      return indices(
        rows.flatMap((row) => heads.map((head) => [0, head, row])),
        3,
      );
    return indices(
      rows.flatMap((row) => heads.flatMap((head) => dims.map((dim) => [0, head, dim, row]))),
      4,
    );
  }

  /** From [kvHeads, headDim, ringRows] to [kvHeads, ringRows, headDim]. */
  #inRows(columns: Float32Array): Float32Array {
    const { kvHeads, headDim } = this.config;
    const { ringRows } = this.geometry;
    const rows = new Float32Array(columns.length);
    for (let head = 0; head < kvHeads; head++) {
      for (let dim = 0; dim < headDim; dim++) {
        const from = (head * headDim + dim) * ringRows;
        for (let row = 0; row < ringRows; row++) {
          rows[(head * ringRows + row) * headDim + dim] = columns[from + row] ?? 0;
        }
      }
    }
    return rows;
  }

  #rowsOf(ring: Ring<number> | undefined): RemoteRows {
    const layer = this.rows[ring?.layer ?? 0];
    if (!ring || !layer) throw new RangeError("a model has at least one layer");
    return ring.part === "k" ? layer.key : layer.value;
  }

  #idOf(place: number): number {
    return this.#rowsOf(this.rings[0]).ringId(place);
  }

  #tensorsOf(place: number): Tensors {
    const own = this.#tensors[this.#idOf(place)];
    if (!own) throw new RangeError(`there is no place ${place}`);
    return own;
  }
}

function renamed(own: readonly Tensors[]): Tensors {
  const all: Tensors = {};
  for (const [i, tensors] of own.entries()) {
    for (const [name, tensor] of Object.entries(tensors)) all[ringOf(i, name)] = tensor;
  }
  return all;
}

function indices(all: readonly (readonly number[])[], rank: number): Tensor {
  return new Tensor("int64", BigInt64Array.from(all.flat(), BigInt), [all.length, rank]);
}

function named(tensors: Readonly<Record<string, Tensor>>, name: string): Tensor {
  const tensor = tensors[name];
  if (!tensor) throw new Error(`the graph gave no ${name}`);
  return tensor;
}

function floats({ data }: Tensor): Float32Array {
  if (!(data instanceof Float32Array)) throw new TypeError("rings are float32");
  return data;
}

function disposeAll(tensors: Tensors): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}
