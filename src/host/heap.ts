import { fullGC, heapSize } from "bun:jsc";

/** A heap of garbage-collected objects. */
export interface Heap {
  /** Bytes, garbage included. */
  size(): number;
  /** Collects in full, and returns the bytes that are left. */
  collect(): number;
}

/** This thread's. */
export const threadHeap: Heap = { size: heapSize, collect: fullGC };

/** Garbage that is not worth a collection, in bytes. */
const harmless = 8 * 2 ** 20;

/**
 * Bounds the garbage in a heap: 8 MiB, or half of what lives where that is more. What outlives a young collection, such
 * as the objects of calls under way, is freed by a full one only, and Bun 1.4.5 puts that off until the heap is three
 * times as large as what lives.
 */
export class BoundedHeap {
  /** Bytes after the last full collection, as far as is known. */
  #live: number;

  constructor(private readonly heap: Heap) {
    this.#live = heap.size();
  }

  /** Collects when the heap has grown beyond its bound; returns the bytes that it freed. */
  look(): number {
    const size = this.heap.size();
    // The runtime has collected by itself.
    this.#live = Math.min(this.#live, size);
    if (size - this.#live <= Math.max(harmless, this.#live / 2)) return 0;
    this.#live = this.heap.collect();
    return size - this.#live;
  }
}
