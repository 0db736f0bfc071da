import { expect, test } from "bun:test";
import { benchOptions, smokeOptions } from "../../src/bench/options.ts";
import { UsageError } from "../../src/cli/exit.ts";

test("a bench with no flags at all runs four hours with a turn each 30 s, on a server of its own", () => {
  expect(benchOptions({}, ["kakeya"], 1_800_000_000.7)).toMatchObject({
    durationS: 14_400,
    turnSpacingS: 30,
    turnsTarget: null,
    address: undefined,
    maxTokens: 64,
    checkpointEveryS: 600,
    output: "bench-1800000000.json",
    workload: undefined,
    template: "raw",
    control: "none",
    strict: false,
    kakeya: ["kakeya"],
    serverFlags: [],
  });
});

test("a smoke with no flags at all runs half an hour with a turn each 30 s, and leaves its report in results/", () => {
  expect(smokeOptions({}, ["kakeya"], 1_800_000_000)).toMatchObject({
    durationS: 1800,
    turnSpacingS: 30,
    output: "results/smoke-1800000000.json",
  });
});

test("a short smoke has turns enough: sixty, unless their spacing is given", () => {
  expect(smokeOptions({ duration: "30" }, [], 0).turnSpacingS).toBe(0.5);
  expect(smokeOptions({ duration: "30", "turn-spacing": "250ms" }, [], 0).turnSpacingS).toBe(0.25);
});

test("flags of a server that bench does not start are refused", () => {
  expect(() => benchOptions({ address: "127.0.0.1:1", quant: "q4" }, [], 0)).toThrow(UsageError);
  expect(() => benchOptions({ address: "127.0.0.1:1", device: "gpu" }, [], 0)).toThrow(
    "--device is for a server that is started here; with --address, give it to that server",
  );
  expect(() => benchOptions({ token: "x" }, [], 0)).toThrow("--token is for the server at --address");
});

test("a run of no length is refused", () => {
  expect(() => benchOptions({ duration: "0" }, [], 0)).toThrow('--duration must be longer than 0, not "0"');
});
