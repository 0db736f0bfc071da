import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UsageError } from "../../src/cli/exit.ts";
import { bytes, duration, formatBytes, formatDuration, integer } from "../../src/cli/units.ts";

describe("a duration", () => {
  test.each([
    ["14400", 14_400],
    ["0", 0],
    ["0.5", 0.5],
    ["4h", 14_400],
    ["30m", 1800],
    ["5s", 5],
    ["1h30m", 5400],
    ["1.5h", 5400],
    ["250ms", 0.25],
    ["2d", 172_800],
  ])("%s is %p seconds", (text, durationS) => {
    expect(duration("ttl", text)).toBeCloseTo(durationS, 9);
  });

  test.each(["", " ", "h", "4 h", "4x", "-5s", "1e3", "5s!", "0x10", "4h 30m", "NaN", "Infinity"])(
    "%p is refused with the option's name and the value",
    (text) => {
      expect(() => duration("ttl", text)).toThrow(UsageError);
      expect(() => duration("ttl", text)).toThrow(`--ttl must be a duration such as`);
      expect(() => duration("ttl", text)).toThrow(`not "${text}"`);
    },
  );

  test("whatever whole number of seconds is written, reading gives it back", () => {
    fc.assert(
      fc.property(fc.nat({ max: 10_000_000 }), (durationS) => {
        expect(duration("ttl", formatDuration(durationS))).toBe(durationS);
      }),
    );
  });

  test.each([
    [0, "0s"],
    [0.25, "0.25s"],
    [59.6, "59.6s"],
    [90, "1m30s"],
    [5430, "1h30m30s"],
    [14_400, "4h"],
  ])("%p seconds are written %s", (durationS, text) => expect(formatDuration(durationS)).toBe(text));
});

describe("a size", () => {
  test.each([
    ["4096", 4096],
    ["512B", 512],
    ["64KiB", 65_536],
    ["1.5GB", 1_500_000_000],
    ["4 MiB", 4_194_304],
  ])("%s is %p bytes", (text, count) => expect(bytes("limit", text)).toBe(count));

  test.each(["", "-1", "1kb", "1 TB", "KiB", "1e6"])("%p is refused", (text) => {
    expect(() => bytes("limit", text)).toThrow(
      `--limit must be a size such as 4096 (bytes), 64KiB or 1.5GB, not "${text}"`,
    );
  });

  test.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1536, "1.5 KiB"],
    [168_794_288, "161 MiB"],
    [2 ** 50, "1024 TiB"],
  ])("%p bytes are written %s", (count, text) => expect(formatBytes(count)).toBe(text));
});

describe("an integer", () => {
  test.each(["0", "7", "+7", "100"])("%s is one", (text) => expect(integer("turns", text, 0, 100)).toBe(Number(text)));

  test.each(["", "-1", "101", "1.5", "1e2", "seven", "0x7", " 7"])("%p is refused", (text) => {
    expect(() => integer("turns", text, 0, 100)).toThrow(`--turns must be an integer from 0 to 100, not "${text}"`);
  });

  test("without an upper end the message names none", () => {
    expect(() => integer("turns", "0", 1)).toThrow('--turns must be an integer of 1 or more, not "0"');
  });
});
