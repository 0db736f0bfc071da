import { ModelChanged } from "../checkpoint/model-error.ts";
import type { Checkpoint } from "../checkpoint/safetensors.ts";
import { embeddingName } from "../checkpoint/weight-shapes.ts";
import { type DigestedRange, isWhole } from "../graph/digest.ts";

/**
 * Rows of the embedding table, read from the checkpoint as they are needed. A mapped table would become resident row by
 * row, so that memory grew with every new word of a conversation. A read leaves nothing in memory.
 */
export class Embedding {
  #changed: ModelChanged | undefined;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly hiddenSize: number,
    /** What the table's bytes must be. */
    private readonly table: DigestedRange,
  ) {}

  /** Throws ModelChanged once the table was written to, and always from then on: its rows may have changed. */
  requireUnchanged(): void {
    const file = this.checkpoint.changedFile();
    if (file !== undefined && !isWhole(this.table)) this.#changed = new ModelChanged(file);
    if (this.#changed) throw this.#changed;
  }

  /** Writes the embedding of a token to `out` [.., hiddenSize] from element `at` on. */
  read(tokenId: number, out: Float32Array, at: number): void {
    try {
      this.checkpoint.readFloats(embeddingName, tokenId * this.hiddenSize, out.subarray(at, at + this.hiddenSize));
    } catch (error) {
      this.requireUnchanged(); // A file that was cut off has changed, too.
      throw error;
    }
  }

  close(): void {
    this.checkpoint.close();
  }
}
