import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { StopStrings } from "../../src/text/stop-strings.ts";
import { splits } from "./splits.ts";

/** All that comes out of `pieces`, and the stop string that ended it. */
function outcome(stops: string[], pieces: string[]): { text: string; found: string | undefined } {
  const watch = new StopStrings(stops);
  const text = pieces.map((piece) => watch.push(piece)).join("") + watch.end();
  return { text, found: watch.found };
}

describe("Stop strings", () => {
  test("end the text in front of them, however they come in pieces", () => {
    expect(outcome(["END"], ["one E", "N", "D two"])).toEqual({ text: "one ", found: "END" });
    expect(outcome(["END", "\n\n"], ["one\n", "\ntwo END"])).toEqual({ text: "one", found: "\n\n" });
    expect(outcome([], ["all", " of it"])).toEqual({ text: "all of it", found: undefined });
  });

  test("hold back no more than what could become one", () => {
    const watch = new StopStrings(["</end>"]);
    expect([watch.push("a < b"), watch.push(" </e"), watch.push("x"), watch.push("<"), watch.end()]).toEqual([
      "a < b",
      " ",
      "</ex",
      "",
      "<",
    ]);
  });

  test("are found by the first that is complete, for any pieces", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 20 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(stops, letters.chain(splits), (given, pieces) => {
        const text = pieces.join("");
        // Letter by letter, with nothing held back: the first end of any stop string.
        const end = [...text].findIndex((_, at) => given.some((stop) => text.slice(0, at + 1).endsWith(stop)));
        const longest = given
          .filter((stop) => end >= 0 && text.slice(0, end + 1).endsWith(stop))
          .sort((a, b) => b.length - a.length)[0];
        const expected = longest === undefined ? text : text.slice(0, end + 1 - longest.length);
        expect(outcome(given, pieces)).toEqual({ text: expected, found: longest });
      }),
      { numRuns: 1000 },
    );
  });

  test("must not be empty", () => {
    expect(() => new StopStrings(["a", ""])).toThrow("a stop string is empty");
  });
});
