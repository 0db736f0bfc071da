export interface StreamDecoder {
  /** The text that `id` completes; empty while a character's bytes are incomplete. */
  push(id: number): string;
  /** What is left at the end of a stream, broken bytes as U+FFFD. */
  flush(): string;
}

export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** Adds no special tokens; special tokens written in the text are recognised. */
  encode(text: string): Uint32Array;
  decode(ids: ArrayLike<number>): string;
  decoder(): StreamDecoder;
}

export function loadTokenizer(dir: string): Tokenizer {
  throw new Error(`not built yet: ${dir}`);
}
