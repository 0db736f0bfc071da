import { expect, test } from "bun:test";
import fc from "fast-check";
import type { SequenceState } from "../../src/engine/engine.ts";
import { violationOf } from "../../src/session/invariants.ts";

const cacheTokens = 68;

function stateAt(position: number): SequenceState {
  const rows = Math.min(position, cacheTokens);
  return { position, minRows: rows, maxRows: rows, liveBytes: rows * 3072, computedTokens: position, finite: true };
}

const run = fc.record({ historyBefore: fc.nat(1000), ran: fc.nat(100) });

test("a cache that counts as its session does violates nothing", () => {
  fc.assert(
    fc.property(run, ({ historyBefore, ran }) => {
      expect(violationOf({ historyBefore, ran, cacheTokens }, stateAt(historyBefore + ran))).toBeUndefined();
    }),
  );
});

test("any other position violates INV-2", () => {
  fc.assert(
    fc.property(run, fc.nat(2000), ({ historyBefore, ran }, position) => {
      fc.pre(position !== historyBefore + ran);
      expect(violationOf({ historyBefore, ran, cacheTokens }, stateAt(position))?.invariant).toBe("inv2");
    }),
  );
});

test("a layer with a row more or less violates INV-1, and the message says how many", () => {
  fc.assert(
    fc.property(run, fc.constantFrom("minRows", "maxRows"), ({ historyBefore, ran }, which) => {
      const state = stateAt(historyBefore + ran);
      state[which] += which === "minRows" ? -1 : 1;
      const violation = violationOf({ historyBefore, ran, cacheTokens }, state);
      expect(violation?.invariant).toBe("inv1");
      expect(violation?.message).toContain(`${state.minRows} to ${state.maxRows} rows`);
    }),
  );
});
