/**
 * What the bits of a session depend on besides its ids: the model, the cache's geometry, the kind of device and so on,
 * as the engine names them. A snapshot continues to the same bits only where all of them are the same; ids can be
 * computed again anywhere.
 */
export type Facts = Readonly<Record<string, string | number>>;

/** For people, which facts differ: `window 64 then, 128 now`. Empty where the bits are the same. */
export function differences(then: Facts, now: Facts): string[] {
  const names = [...new Set([...Object.keys(then), ...Object.keys(now)])];
  return names
    .filter((name) => then[name] !== now[name])
    .map((name) => `${inWords(name)} ${then[name] ?? "unknown"} then, ${now[name] ?? "unknown"} now`);
}

/** @throws Error naming the fact that is neither a text nor a number */
export function factsFrom(value: unknown): Facts {
  if (typeof value !== "object" || value === null) throw new Error("the facts are no object");
  const facts: Record<string, string | number> = {};
  for (const [name, fact] of Object.entries(value)) {
    if (typeof fact !== "string" && typeof fact !== "number") throw new Error(`the fact "${name}" is ${String(fact)}`);
    facts[name] = fact;
  }
  return facts;
}

/** rowMultiple: row multiple. */
function inWords(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
