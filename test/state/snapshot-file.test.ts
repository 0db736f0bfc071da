import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { StateError } from "../../src/state/errors.ts";
import { readSnapshotFile, readSnapshotHeader, writeSnapshotFile } from "../../src/state/snapshot-file.ts";
import { blockBytes, maxFactsBytes } from "../../src/state/snapshot-header.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { seededRandom } from "../seeded-random.ts";
import { facts, snapshotAt } from "./sessions.ts";

test("a snapshot comes back as it was, whatever the pieces it was given in", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  const random = seededRandom(7);
  const sizes = fc.array(fc.oneof(fc.nat(3000), fc.integer({ min: blockBytes - 2, max: 2 * blockBytes + 2 })), {
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat(), async (lengths, position) => {
      const body = lengths.map((length) => Uint8Array.from({ length }, () => random() * 256));
      const bytes = await writeSnapshotFile(path, { ...snapshotAt(position), body });
      const read = await readSnapshotFile(path);
      expect(read.facts).toEqual(facts);
      expect(read.position).toBe(position);
      expect(Buffer.concat([...read.body]).equals(Buffer.concat(body))).toBe(true);
      expect(statSync(path).size).toBe(bytes);
    }),
    { numRuns: 15, seed: 12 },
  );
  expect(readdirSync(scratch.path)).toEqual(["s"]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("every flipped bit of a small snapshot is noticed", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await writeSnapshotFile(path, snapshotAt(70, 50));
  const good = readFileSync(path);
  const unnoticed: string[] = [];
  for (let bit = 0; bit < 8 * good.length; bit++) {
    const bad = Buffer.from(good);
    bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    writeFileSync(path, bad);
    await readSnapshotFile(path).then(
      () => unnoticed.push(`bit ${bit}`),
      () => {},
    );
  }
  expect(unnoticed).toEqual([]);
});

test("every truncation of a small snapshot is noticed, and every byte too many", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await writeSnapshotFile(path, snapshotAt(70, 50));
  const good = readFileSync(path);
  for (let length = 0; length < good.length; length++) {
    writeFileSync(path, good.subarray(0, length));
    await rejection(readSnapshotFile(path));
    await rejection(readSnapshotHeader(path));
  }
  writeFileSync(path, Buffer.concat([good, Buffer.of(0)]));
  expect((await rejection(readSnapshotFile(path))).message).toMatch(/it has \d+ bytes instead of \d+/);
});

test("a flipped bit of a later block is noticed, and says where", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await writeSnapshotFile(path, snapshotAt(70, 2 * blockBytes + 10));
  const bytes = readFileSync(path);
  const at = bytes.length - 3 * 4 - 5;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  expect((await rejection(readSnapshotFile(path))).message).toBe(
    `the checksum of bytes ${2 * blockBytes} to ${2 * blockBytes + 10} is wrong`,
  );
});

test("lengths are bounded before anything is allocated", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await writeSnapshotFile(path, snapshotAt(70));
  const good = readFileSync(path);

  const longFacts = Buffer.from(good);
  longFacts.writeUInt32LE(0xffff_ffff, 12);
  writeFileSync(path, longFacts);
  expect((await rejection(readSnapshotFile(path))).message).toBe("its facts would take 4294967295 bytes");
  expect(maxFactsBytes).toBeLessThan(1 << 20);

  // A body of a petabyte, with the right checksum.
  writeFileSync(path, withHeader(JSON.stringify({ facts, counts: {}, position: 1, bodyBytes: 2 ** 50 })));
  expect((await rejection(readSnapshotFile(path))).message).toMatch(/it has \d+ bytes instead of 11\d+/);
  writeFileSync(path, withHeader(JSON.stringify({ facts, counts: {}, position: -1, bodyBytes: 1 })));
  expect((await rejection(readSnapshotFile(path))).message).toBe("-1 is no number of tokens or bytes");
  writeFileSync(
    path,
    withHeader(JSON.stringify({ facts: { ...facts, sink: null }, counts: {}, position: 1, bodyBytes: 0 })),
  );
  expect((await rejection(readSnapshotFile(path))).message).toBe('the fact "sink" is null');
});

test("a snapshot of a later kakeya is not taken for a damaged one", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  writeFileSync(path, withHeader("{}", 2));
  const error = await rejection(readSnapshotFile(path));
  expect(error).toMatchObject({ kind: "newer", message: "the snapshot has version 2, this kakeya reads 1" });
  expect(error).toBeInstanceOf(StateError);
});

test("whatever bytes a file has, reading it ends with an error", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await writeSnapshotFile(path, snapshotAt(70, 50));
  const good = readFileSync(path);
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 500 }),
    fc.uint8Array({ minLength: 1, maxLength: 300 }).map((tail) => Buffer.concat([good.subarray(0, 20), tail])),
    fc.json().map((text) => withHeader(text)),
  );
  await fc.assert(
    fc.asyncProperty(noise, async (bytes) => {
      writeFileSync(path, bytes);
      await rejection(readSnapshotFile(path));
    }),
    { numRuns: 300, seed: 13 },
  );
});

/** The head of a file whose checksum is right, whatever it says. */
function withHeader(text: string, version = 1): Buffer {
  const prefix = Buffer.alloc(20);
  prefix.write("KKSNAP\r\n");
  prefix.writeUInt32LE(version, 8);
  prefix.writeUInt32LE(Buffer.byteLength(text), 12);
  prefix.writeUInt32LE(crc32(text, crc32(prefix.subarray(0, 16))), 16);
  return Buffer.concat([prefix, Buffer.from(text)]);
}
