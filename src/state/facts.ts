/**
 * What the bits of a session depend on besides its ids. A snapshot continues to the same bits only where all of these
 * are the same; ids alone can be computed again anywhere.
 */
export interface EngineFacts {
  /** SHA-256 (hex) over the weights, the configuration and the quantization. */
  fingerprint: string;
  sink: number;
  window: number;
  block: number;
  /** How a row of the cache is held: "f32" or "q8". */
  kvFormat: string;
  /** "cpu" or "gpu". */
  deviceKind: string;
  /** On how many rows the bits of a linear layer depend. */
  rowRule: string;
  /** Of the snapshot's body, which only the engine reads. */
  formatVersion: number;
}

const words: { [F in keyof EngineFacts]: { name: string; type: "string" | "number" } } = {
  fingerprint: { name: "model fingerprint", type: "string" },
  sink: { name: "sink", type: "number" },
  window: { name: "window", type: "number" },
  block: { name: "block", type: "number" },
  kvFormat: { name: "format of the cache", type: "string" },
  deviceKind: { name: "device", type: "string" },
  rowRule: { name: "row rule", type: "string" },
  formatVersion: { name: "snapshot format", type: "number" },
};

const names = Object.keys(words) as (keyof EngineFacts)[];

export interface Difference {
  fact: keyof EngineFacts;
  /** For people: `window 64 then, 128 now`. */
  words: string;
}

/** Which facts differ between what was stored and what runs now; empty where the bits are the same. */
export function differences(stored: EngineFacts, now: EngineFacts): Difference[] {
  return names
    .filter((fact) => stored[fact] !== now[fact])
    .map((fact) => ({ fact, words: `${words[fact].name} ${stored[fact]} then, ${now[fact]} now` }));
}

/** The facts as one line of JSON, always in the same order. */
export function factsText(facts: EngineFacts): string {
  return JSON.stringify(facts, names);
}

/** @throws Error naming the field that is missing or of another type. */
export function factsFrom(value: unknown): EngineFacts {
  if (typeof value !== "object" || value === null) throw new Error("the facts are no object");
  const given: Record<string, unknown> = { ...value };
  for (const fact of names) {
    if (typeof given[fact] !== words[fact].type) throw new Error(`the fact "${fact}" is no ${words[fact].type}`);
  }
  return given as unknown as EngineFacts;
}
