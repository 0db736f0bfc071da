import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { OkTurnV2 } from "../../src/report/report.ts";
import { workGate } from "../../src/report/work-gate.ts";
import { failed, ownTokens, reprefilled, steady, withFailure, withTurn } from "./series.ts";

const turns = steady(30);

/** The turns from `at` on, moved into a session of their own that starts from nothing. */
function newSessionAt(at: number): OkTurnV2[] {
  return turns.map((turn, i) => {
    if (i < at) return turn;
    const history = (i - at + 1) * ownTokens;
    return { ...turn, session_index: 1, history_length: history, computed_token_total: history };
  });
}

test("turns that compute just their own tokens pass", () => {
  expect(workGate(turns)).toMatchObject({ verdict: "pass", numbers: { turns: 30, wrong_turns: 0, missing_turns: 0 } });
});

test("a counter off by one, on whatever turn and in either direction, fails", () => {
  fc.assert(
    fc.property(fc.nat(29), fc.constantFrom(-1, 1), (at, one) => {
      const counter = (turns[at]?.computed_token_total ?? 0) + one;
      const gate = workGate(withTurn(turns, at, { computed_token_total: counter }));
      expect(gate.verdict).toBe("fail");
      expect(gate.reason).toContain(`${ownTokens + one} tokens were computed instead of ${ownTokens}`);
    }),
  );
});

test("a counter that is off by one from some turn on fails once", () => {
  const shifted = turns.map((turn, i) => ({ ...turn, computed_token_total: (i + 1) * ownTokens + (i < 9 ? 0 : 1) }));
  expect(workGate(shifted)).toMatchObject({ verdict: "fail", numbers: { wrong_turns: 1 } });
});

test("a history that grows by other than the turn's tokens fails", () => {
  const gate = workGate(withTurn(turns, 29, { history_length: 30 * ownTokens + 5 }));
  expect(gate.verdict).toBe("fail");
  expect(gate.reason).toContain(`the history grew by ${ownTokens + 5} tokens instead of ${ownTokens}`);
});

test("the negative control, a whole history in a new session each turn, fails", () => {
  expect(workGate(reprefilled(30))).toMatchObject({ verdict: "fail", numbers: { wrong_turns: 29 } });
});

test("sessions that talk by turns are each counted by themselves", () => {
  const both = turns.flatMap((turn) => [turn, { ...turn, session_index: 1 }]);
  expect(workGate(both)).toMatchObject({ verdict: "pass", numbers: { turns: 60 } });
  const counter = (turns[20]?.computed_token_total ?? 0) + 1;
  expect(workGate(withTurn(both, 41, { computed_token_total: counter })).verdict).toBe("fail");
});

test("a new session that starts from nothing passes", () => {
  expect(workGate(newSessionAt(12)).verdict).toBe("pass");
});

test("after a failed turn the counter must grow by what the history did", () => {
  expect(workGate(withFailure(turns, 10)).verdict).toBe("pass");
  const lost = withFailure(withTurn(turns, 11, { computed_token_total: 12 * ownTokens + 1 }), 10);
  expect(workGate(lost).verdict).toBe("fail");
});

test("where the bench was resumed, the counter must grow by what the history did", () => {
  // Turns 10 to 14 ran, and nobody recorded them.
  const gap = turns.filter((_, i) => i < 10 || i >= 15);
  expect(workGate(gap).verdict).toBe("fail");
  const resumed = gap.map((turn, i) => (i === 10 ? { ...turn, resumed: true as const } : turn));
  expect(workGate(resumed).verdict).toBe("pass");
  const again = resumed.map((turn, i) => (i < 10 ? turn : { ...turn, computed_token_total: turn.history_length + 1 }));
  expect(workGate(again).verdict).toBe("fail");
});

test("a session whose first turn failed is judged from its second on", () => {
  const reopened = newSessionAt(12).map((turn, i) => (i === 12 ? failed(turn) : turn));
  expect(workGate(reopened).verdict).toBe("pass");
});

test("a missing counter is inconclusive, unless another turn is wrong", () => {
  const missing = withTurn(turns, 5, { computed_token_total: null });
  expect(workGate(missing)).toMatchObject({ verdict: "inconclusive", numbers: { missing_turns: 1, wrong_turns: 0 } });
  expect(workGate(withTurn(missing, 20, { computed_token_total: 1 })).verdict).toBe("fail");
  expect(workGate(turns.map(({ computed_token_total, ...turn }) => turn)).verdict).toBe("inconclusive");
});

test("zeros fail", () => {
  expect(workGate(turns.map((turn) => ({ ...turn, computed_token_total: 0 }))).verdict).toBe("fail");
});

test("no turn, or none that succeeded, is inconclusive", () => {
  expect(workGate([]).verdict).toBe("inconclusive");
  expect(workGate(turns.map(failed)).verdict).toBe("inconclusive");
});

describe("guesses", () => {
  /** Turns of `steps` steps each, whose other ids were guesses that turned out right. */
  const guessing = (steps: number, draftedEach: number) =>
    turns.map((turn, i) => ({
      ...turn,
      drafted_token_total: (i + 1) * draftedEach,
      accepted_draft_total: (i + 1) * (turn.n_emitted - steps),
    }));

  test("that add up pass, in new sessions and after failed turns, too", () => {
    expect(workGate(guessing(20, 100), 15).verdict).toBe("pass");
    expect(workGate(guessing(64, 0), 0).verdict).toBe("pass");
    expect(workGate(withFailure(guessing(20, 100), 10), 15).verdict).toBe("pass");
  });

  test("of which more were right than were made fail", () => {
    expect(workGate(guessing(20, 43), 15).reason).toContain("44 of 43 guesses were right");
  });

  test("that are more than the steps could have made fail", () => {
    expect(workGate(guessing(20, 300), 15).verdict).toBe("pass");
    expect(workGate(guessing(20, 301), 15).reason).toContain("20 steps ran 301 guesses, more than 15 each");
    expect(workGate(guessing(20, 100), 0).verdict).toBe("fail");
  });

  test("that leave no step fail: each step chooses an id of its own", () => {
    expect(workGate(guessing(0, 100), 15).reason).toContain("64 guesses were right, and 64 ids emitted");
  });

  test("that are counted anew, since the session was out of memory, must add up from there", () => {
    const restored = (drafted: number) =>
      guessing(20, 100).map((turn, i) =>
        i < 9 ? turn : { ...turn, drafted_token_total: (i - 8) * drafted, accepted_draft_total: (i - 8) * 44 },
      );
    expect(workGate(restored(100), 15).verdict).toBe("pass");
    expect(workGate(restored(43), 15).verdict).toBe("fail");
  });

  test("whose count goes back fail", () => {
    const back = guessing(20, 100).map((turn, i) => (i === 9 ? { ...turn, accepted_draft_total: 1 } : turn));
    expect(workGate(back, 15).verdict).toBe("fail");
  });
});
