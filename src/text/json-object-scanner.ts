/** Outside of its strings, JSON has no other characters. */
const outsideStrings = /[\s{}[\],:0-9+\-.eEtrufalsn]/;

/**
 * Finds the end of one JSON object in a text that comes in pieces, and where the values of its own members lie, so
 * that they can be taken as they were written. It looks at each character once. Whether all between is JSON is left to
 * JSON.parse.
 */
export class JsonObjectScanner {
  /** The index after the closing brace, once that was seen. */
  end: number | undefined;
  /** No JSON object begins like this. */
  malformed = false;

  #position = 0;
  #depth = 0;
  #stringStart: number | undefined;
  #escaped = false;
  /** The last string that ended in the object itself: a member's name, if a colon follows. */
  #lastString = "";
  #name: string | undefined;
  #valueStart = 0;
  readonly #values = new Map<string, string>();

  /** Continues in `text`, which begins with the object and with all that was scanned before. */
  scan(text: string): void {
    while (this.#position < text.length && this.end === undefined && !this.malformed) {
      this.#step(text, this.#position);
      this.#position++;
    }
  }

  /** The value of the object's own member `name`, in its own spelling. */
  value(name: string): string | undefined {
    return this.#values.get(name);
  }

  #step(text: string, at: number): void {
    const character = text.charAt(at);
    if (this.#stringStart !== undefined) this.#stepInString(text, at, character);
    else if (this.#depth === 0 && character !== "{") this.malformed = true;
    else if (character === '"') this.#stringStart = at;
    else if (!outsideStrings.test(character)) this.malformed = true;
    else this.#stepOutside(text, at, character);
  }

  #stepInString(text: string, at: number, character: string): void {
    if (this.#escaped) this.#escaped = false;
    else if (character === "\\") this.#escaped = true;
    else if (character === '"') {
      if (this.#depth === 1) this.#lastString = text.slice((this.#stringStart ?? 0) + 1, at);
      this.#stringStart = undefined;
    }
  }

  #stepOutside(text: string, at: number, character: string): void {
    if (character === "{" || character === "[") this.#depth++;
    if (this.#depth === 1 && character === ":") {
      this.#name = this.#lastString;
      this.#valueStart = at + 1;
    }
    const closes = character === "}" || character === "]";
    if (this.#depth === 1 && (closes || character === ",")) this.#endValue(text, at);
    if (closes) this.#depth--;
    if (this.#depth === 0) this.end = at + 1;
  }

  #endValue(text: string, at: number): void {
    if (this.#name !== undefined) this.#values.set(this.#name, text.slice(this.#valueStart, at).trim());
    this.#name = undefined;
  }
}
