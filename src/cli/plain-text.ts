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

/** The same lines, each as by `oneLine`. */
export function plainLines(text: string): string {
  return text.split("\n").map(oneLine).join("\n");
}

/** The same JSON, in which unsafe characters within strings are written as `\u202e`. Its line breaks stay. */
export function escaped(json: string): string {
  return json.replace(unsafe, (character) =>
    character === "\n" ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A piece of a longer text, however it was split: each unsafe character becomes a blank, but for line breaks and tabs. */
export function plainPiece(text: string): string {
  return text.replace(unsafe, (character) => (character === "\n" || character === "\t" ? character : " "));
}
