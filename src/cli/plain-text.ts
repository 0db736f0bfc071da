/**
 * Text from outside, before it goes to a terminal, a log or a page. Control characters (C0, DEL, C1) are commands to a
 * terminal, line separators break a line in two, and bidirectional controls (Unicode UAX #9, such as U+202E) make it
 * read as something else.
 */
const unsafe = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** One line of text: each run of unsafe characters becomes a blank. */
export function oneLine(text: string): string {
  return text.replace(new RegExp(`${unsafe.source}+`, unsafe.flags), " ");
}

/** The same text with unsafe characters as JSON writes them, `\u202e`: for text that stands between JSON's quotes. */
export function escaped(json: string): string {
  return json.replace(unsafe, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
