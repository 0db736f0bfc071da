import type { Checkpoint } from "../checkpoint/safetensors.ts";
import { embeddingName } from "../graph/graph.ts";

/**
 * Rows of the embedding table, read from the checkpoint as they are needed. A mapped table would become resident row
 * by row, so that memory grew with every new word of a conversation; a read leaves nothing behind.
 */
export class Embedding {
  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly hiddenSize: number,
  ) {}

  /** Writes the embedding of a token to `out` [.., hiddenSize] from element `at` on. */
  read(tokenId: number, out: Float32Array, at: number): void {
    this.checkpoint.readFloats(embeddingName, tokenId * this.hiddenSize, out.subarray(at, at + this.hiddenSize));
  }

  close(): void {
    this.checkpoint.close();
  }
}
