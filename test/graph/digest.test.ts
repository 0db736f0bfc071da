import { describe, expect, test } from "bun:test";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { type DigestedRange, digestOf, isWhole, looksIntact, parseDigest, staysWhole } from "../../src/graph/digest.ts";
import { scratchDir } from "../scratch.ts";

const mebi = 1 << 20;
const never = new AbortController().signal;

/** A file of these bytes and the digest of a part of it. */
function digested(dir: string, content: Uint8Array, offset = 0, bytes = content.length - offset): DigestedRange {
  const file = join(dir, "data");
  writeFileSync(file, content);
  return { file, offset, bytes, digest: digestOf({ file, offset, bytes }) };
}

function flip(range: DigestedRange, content: Uint8Array, at: number): void {
  const other = Uint8Array.from(content);
  other[at] = (other[at] ?? 0) ^ 1;
  writeFileSync(range.file, other);
}

test("Whichever byte of a small part is flipped, it is noticed; outside of the part, it is not", async () => {
  using scratch = scratchDir();
  const content = new Uint8Array(5000).map((_, i) => i * 7);
  const range = digested(scratch.path, content, 100, 4000);
  expect(looksIntact(range)).toBe(true);
  expect(await staysWhole(range, never)).toBe(true);
  await fc.assert(
    fc.asyncProperty(fc.nat(content.length - 1), async (at) => {
      flip(range, content, at);
      const outside = at < 100 || at >= 4100;
      expect([looksIntact(range), isWhole(range), await staysWhole(range, never)]).toEqual([outside, outside, outside]);
    }),
    { seed: 1, numRuns: 60 },
  );
});

describe("A large part", () => {
  const content = new Uint8Array(40 * mebi).fill(5);

  test("is sampled at a start, elsewhere each time, and checked to its end in the background", async () => {
    using scratch = scratchDir();
    const range = digested(scratch.path, content);
    expect(range.digest.sha256.length).toBe(40);
    flip(range, content, 33 * mebi + 12);
    expect(looksIntact(range, () => 0)).toBe(true);
    expect(looksIntact(range, () => 33.5 / 40)).toBe(false);
    expect(isWhole(range)).toBe(false);
    expect(await staysWhole(range, never)).toBe(false);
  });

  test("that is cut off is noticed, whatever is sampled", async () => {
    using scratch = scratchDir();
    const range = digested(scratch.path, content);
    truncateSync(range.file, 39 * mebi);
    expect(looksIntact(range, () => 0)).toBe(false);
    expect(await staysWhole(range, never)).toBe(false);
  });

  test("is left alone once nobody wants to know", async () => {
    using scratch = scratchDir();
    const range = digested(scratch.path, content);
    flip(range, content, 39 * mebi);
    expect(await staysWhole(range, AbortSignal.abort())).toBe(true);
  });
});

test("Whatever JSON it is read from, a digest has as many pieces as its bytes take", () => {
  const piece = fc.oneof(fc.string(), fc.integer());
  const json = fc.oneof(
    fc.jsonValue(),
    fc.record({ bytes: fc.integer(), pieceBytes: fc.integer(), sha256: fc.array(piece) }),
    fc.record({ bytes: fc.nat(50), pieceBytes: fc.integer({ min: 1, max: 20 }), sha256: fc.array(fc.string()) }),
  );
  fc.assert(
    fc.property(json, (value) => {
      const digest = parseDigest(value);
      if (digest !== undefined) expect(digest.sha256.length).toBe(Math.ceil(digest.bytes / digest.pieceBytes));
    }),
    { seed: 1, numRuns: 1000 },
  );
  expect(parseDigest({ bytes: 5, pieceBytes: 4, sha256: ["a", "b"] })).toBeDefined();
});
