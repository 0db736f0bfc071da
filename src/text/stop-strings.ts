/**
 * Watches a stream of text for stop strings. Text is held back only while it could still be the beginning of one.
 *
 * However the text is split into pieces, the outcome is the same: of several stop strings the one that is complete
 * first counts.
 */
export class StopStrings {
  /** The stop string that was found; from then on no text comes any more. */
  found: string | undefined;

  #held = "";

  /** @param stops None of them empty. */
  constructor(private readonly stops: readonly string[]) {
    if (stops.includes("")) throw new Error("a stop string is empty; give at least one character");
  }

  /** The text that can go out: without the stop string and what follows it. */
  push(piece: string): string {
    if (this.found !== undefined) return "";
    const text = this.#held + piece;
    const match = this.#firstMatch(text);
    if (match !== undefined) {
      this.found = match.stop;
      this.#held = "";
      return text.slice(0, match.at);
    }
    const safe = text.length - Math.max(0, ...this.stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(safe);
    return text.slice(0, safe);
  }

  /** What is held back when the text ends: it was no stop string. */
  end(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  /** The match that ends first; among those, the longest. */
  #firstMatch(text: string): { stop: string; at: number } | undefined {
    const matches = this.stops.map((stop) => ({ stop, at: text.indexOf(stop) })).filter(({ at }) => at >= 0);
    return matches.sort((a, b) => a.at + a.stop.length - (b.at + b.stop.length) || a.at - b.at)[0];
  }
}

/** How many characters at the end of `text` are a beginning of `marker`, but not all of it. */
export function overlap(text: string, marker: string): number {
  let length = Math.min(text.length, marker.length - 1);
  while (length > 0 && !text.endsWith(marker.slice(0, length))) length--;
  return length;
}
