/** Command lines as text that a POSIX shell reads back unchanged. */

import type { ArgsDef } from "citty";

/** Words joined into one line. */
export function shellLine(words: readonly string[]): string {
  return words.map(quoted).join(" ");
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The options of `definition` as they are typed, defaults included; those without a value are left out. */
export function optionWords(definition: ArgsDef, values: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(definition).flatMap(([name, { type }]) => {
    const value = values[name];
    if (type === "boolean") return value === true ? [`--${name}`] : [];
    if (typeof value !== "string" || type === "positional") return [];
    // A value that begins with a dash would be taken for an option.
    return value.startsWith("-") ? [`--${name}=${value}`] : [`--${name}`, value];
  });
}
