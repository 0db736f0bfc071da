import fc from "fast-check";

/** `text` in pieces, split anywhere: also inside of a character's surrogate pair, and into empty pieces. */
export function splits(text: string): fc.Arbitrary<string[]> {
  return fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: text.length + 2 }).map((places) => {
    const cuts = [0, ...places.sort((a, b) => a - b), text.length];
    return cuts.slice(1).map((cut, i) => text.slice(cuts[i], cut));
  });
}
