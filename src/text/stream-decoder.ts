export interface StreamDecoder {
  /** The text that `id` completes; empty while the bytes of a character are incomplete. */
  push(id: number): string;
  /** What is left at the end of a stream, broken bytes as U+FFFD. The decoder is then as it was at the start. */
  flush(): string;
}

/** This many ids without a whole character among them are not the beginning of one. */
const mostPending = 64;

/**
 * Decodes a stream id by id with `decode`, which gives the text of a whole list.
 *
 * A token may hold a part of a character, or a space that only shows after other text. So each piece of text is the
 * difference between decoding the ids before it alone and together with the new ones, and it is held back while it ends
 * in U+FFFD, a character whose last bytes are still to come.
 */
export function streamDecoder(decode: (ids: number[]) => string): StreamDecoder {
  /** The ids of the last text given out, and that text. */
  let before: number[] = [];
  let textBefore = "";
  /** The ids since. */
  let pending: number[] = [];

  const newText = () => decode([...before, ...pending]).slice(textBefore.length);

  return {
    push(id) {
      pending.push(id);
      const piece = newText();
      const incomplete = piece === "" || piece.endsWith("\uFFFD");
      if (incomplete && pending.length < mostPending) return "";
      before = pending;
      textBefore = decode(before);
      pending = [];
      return piece;
    },
    flush() {
      const piece = newText();
      before = [];
      textBefore = "";
      pending = [];
      return piece;
    },
  };
}
