import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { readCheckedFacts, readCheckedFile, writeCheckedFile } from "../../src/files/checked-file.ts";
import { blockBytes, type FileKind, LaterVersion, maxFactsBytes } from "../../src/files/checked-header.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { seededRandom } from "../seeded-random.ts";

const kind: FileKind = { magic: "KKTEST\r\n", name: "test", version: 1 };
const facts = { what: "a test", number: 70 };

const write = (path: string, bytes: number) =>
  writeCheckedFile(path, kind, { facts, body: [new Uint8Array(bytes).fill(70)] });
const read = (path: string) => readCheckedFile(path, kind);

test("a file comes back as it was, whatever the pieces it was given in", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  const random = seededRandom(7);
  const sizes = fc.array(fc.oneof(fc.nat(3000), fc.integer({ min: blockBytes - 2, max: 2 * blockBytes + 2 })), {
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(sizes, fc.jsonValue(), async (lengths, facts) => {
      const body = lengths.map((length) => Uint8Array.from({ length }, () => random() * 256));
      const bytes = await writeCheckedFile(path, kind, { facts, body });
      const back = await read(path);
      expect(JSON.stringify(back.facts)).toBe(JSON.stringify(facts));
      expect(JSON.stringify(await readCheckedFacts(path, kind))).toBe(JSON.stringify(facts));
      expect(Buffer.from(back.body).equals(Buffer.concat(body))).toBe(true);
      expect(statSync(path).size).toBe(bytes);
    }),
    { numRuns: 15, seed: 12 },
  );
  expect(readdirSync(scratch.path)).toEqual(["s"]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("what lies beside it stays as it was, whatever its name", async () => {
  using scratch = scratchDir();
  const [path, beside] = [join(scratch.path, "s"), join(scratch.path, "s.part")];
  writeFileSync(beside, "somebody's");
  await write(path, 50);
  expect(readFileSync(beside, "utf8")).toBe("somebody's");
  expect(readdirSync(scratch.path).sort()).toEqual(["s", "s.part"]);
});

test("every flipped bit of a small file is noticed", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await write(path, 50);
  const good = readFileSync(path);
  const unnoticed: string[] = [];
  for (let bit = 0; bit < 8 * good.length; bit++) {
    const bad = Buffer.from(good);
    bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    writeFileSync(path, bad);
    await read(path).then(
      () => unnoticed.push(`bit ${bit}`),
      () => {},
    );
  }
  expect(unnoticed).toEqual([]);
});

test("every truncation of a small file is noticed, and every byte too many", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await write(path, 50);
  const good = readFileSync(path);
  for (let length = 0; length < good.length; length++) {
    writeFileSync(path, good.subarray(0, length));
    await rejection(read(path));
    await rejection(readCheckedFacts(path, kind));
  }
  writeFileSync(path, Buffer.concat([good, Buffer.of(0)]));
  expect((await rejection(read(path))).message).toMatch(/it has \d+ bytes instead of \d+/);
});

test("a flipped bit of a later block is noticed, and says where", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await write(path, 2 * blockBytes + 10);
  const bytes = readFileSync(path);
  const at = bytes.length - 3 * 4 - 5;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  expect((await rejection(read(path))).message).toBe(
    `the checksum of bytes ${2 * blockBytes} to ${2 * blockBytes + 10} is wrong`,
  );
});

test("lengths are bounded before anything is allocated", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await write(path, 100);
  const good = readFileSync(path);

  const longFacts = Buffer.from(good);
  longFacts.writeUInt32LE(0xffff_ffff, 12);
  writeFileSync(path, longFacts);
  expect((await rejection(read(path))).message).toBe("its facts would take 4294967295 bytes");
  expect(maxFactsBytes).toBeLessThan(1 << 20);

  // A body of a petabyte, with the right checksum.
  writeFileSync(path, withHeader(JSON.stringify({ facts, bodyBytes: 2 ** 50 })));
  expect((await rejection(read(path))).message).toMatch(/it has \d+ bytes instead of 11\d+/);
  writeFileSync(path, withHeader(JSON.stringify({ facts, bodyBytes: -1 })));
  expect((await rejection(read(path))).message).toBe("its body would have -1 bytes");
  writeFileSync(path, withHeader(JSON.stringify({ bodyBytes: 0 })));
  expect((await rejection(read(path))).message).toBe("it has no facts");
});

test("a file of a later kakeya is not taken for a damaged one", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  writeFileSync(path, withHeader("{}", 2));
  const error = await rejection(read(path));
  expect(error).toBeInstanceOf(LaterVersion);
  expect(error.message).toBe("the test has version 2, this kakeya reads 1");
});

test("whatever bytes a file has, reading it ends with an error", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "s");
  await write(path, 50);
  const good = readFileSync(path);
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 500 }),
    fc.uint8Array({ minLength: 1, maxLength: 300 }).map((tail) => Buffer.concat([good.subarray(0, 20), tail])),
    fc.json().map((text) => withHeader(text)),
  );
  await fc.assert(
    fc.asyncProperty(noise, async (bytes) => {
      writeFileSync(path, bytes);
      await rejection(read(path));
    }),
    { numRuns: 300, seed: 13 },
  );
});

/** The head of a file whose checksum is right, whatever it says. */
function withHeader(text: string, version = 1): Buffer {
  const prefix = Buffer.alloc(20);
  prefix.write(kind.magic);
  prefix.writeUInt32LE(version, 8);
  prefix.writeUInt32LE(Buffer.byteLength(text), 12);
  prefix.writeUInt32LE(crc32(text, crc32(prefix.subarray(0, 16))), 16);
  return Buffer.concat([prefix, Buffer.from(text)]);
}
