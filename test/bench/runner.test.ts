import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Checkpoint } from "../../src/bench/checkpoint.ts";
import { systemClock } from "../../src/bench/clock.ts";
import { type RunOptions, run, warmUp } from "../../src/bench/runner.ts";
import { Walk, type WalkOptions } from "../../src/bench/walk.ts";
import { builtInWorkload } from "../../src/bench/workload.ts";
import { embeddedModelDir } from "../../src/checkpoint/embedded.ts";
import { destination } from "../../src/files/destination.ts";
import type { OkTurnV2, TurnV2 } from "../../src/report/report.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { eventually } from "../eventually.ts";
import { scratchDir } from "../scratch.ts";
import { type Serving, serving } from "../serve/serving.ts";
import { recordOf } from "./run-record.ts";

const tokenizer = loadTokenizer(embeddedModelDir());
const endOfAnswer = 2047;

let host: Serving;
beforeAll(async () => {
  host = await serving({ capacity: 1 });
});
afterAll(() => host[Symbol.asyncDispose]());

interface Asked extends Partial<RunOptions>, Partial<WalkOptions> {
  stop?: AbortSignal;
  onTurn?: (turn: TurnV2, turns: number) => void | Promise<void>;
}

/** A run against the real server, without spacing and 12 turns long unless asked otherwise. */
async function ran({ stop = new AbortController().signal, onTurn, ...asked }: Asked = {}) {
  using scratch = scratchDir();
  const clock = systemClock();
  const record = recordOf(clock);
  const checkpoint = new Checkpoint({
    to: destination(join(scratch.path, "run.json.partial"), { inputs: [], isOurs: () => true, force: false }),
    everyS: 600,
    clock,
    report: () => record.report({ partial: true, abortReason: null }),
    warn: () => undefined,
  });
  const walk = new Walk({
    client: host.connect(),
    info: { modelFingerprint: host.engine.info.fingerprint },
    tokenizer,
    clock,
    workload: builtInWorkload,
    template: "raw",
    control: "none",
    eosTokenIds: [endOfAnswer],
    maxTokens: 64,
    turnTimeoutS: 60,
    ...asked,
  });
  const options = { durationS: 60, turnSpacingS: 0, turnsTarget: 12, ...asked };
  let told = 0;
  await run(options, { walk, record, checkpoint, clock, stop, onTurn: (turn) => void onTurn?.(turn, ++told) });
  await walk.close();
  return { turns: record.turns, gates: record.gates(), walk };
}

function succeeded(turns: readonly TurnV2[]): OkTurnV2[] {
  return turns.map((turn) => {
    if (!turn.ok) throw new Error(`${turn.error_class}: ${turn.error_str}`);
    return turn;
  });
}

describe("a run", () => {
  test("is one session in which each turn costs its own tokens", async () => {
    const { turns, gates } = await ran();
    let history = 0;
    for (const [n, turn] of succeeded(turns).entries()) {
      history += turn.user_message_tokens + turn.n_emitted;
      expect(turn).toMatchObject({
        session_index: 0,
        message_index: n % 6,
        stop_reason: "EOS",
        history_length: history,
        computed_token_total: history,
        kv_live_bytes: Math.min(history, 68) * 3072,
        inv1: 0,
        inv2: 0,
      });
    }
    expect(turns).toHaveLength(12);
    expect(gates).toMatchObject({
      memory: { verdict: "pass" },
      work: { verdict: "pass" },
      invariants: { verdict: "pass" },
      errors: { verdict: "pass" },
    });
  });

  test("measures each turn's parts in their order", async () => {
    for (const turn of succeeded((await ran()).turns)) {
      expect(turn.append_s).toBeGreaterThan(0);
      expect(turn.ttft_s).toBeGreaterThan(turn.append_s);
      expect(turn.latency_s).toBeGreaterThan(turn.ttft_s ?? Number.NaN);
      expect(turn.itl_max_s).toBeGreaterThanOrEqual(turn.tpot_s ?? Number.NaN);
      expect(turn.server_rss_bytes).toBeGreaterThan(1e6);
      expect(turn.t_relative_s).toBe(turn.scheduled_s);
    }
  });

  test("ends with the model's answer to its last message", async () => {
    const { walk } = await ran({ turnsTarget: 1 });
    expect(tokenizer.decode(walk.lastAnswerIds)).toStartWith("It is a key-value cache that keeps only the most recent");
  });

  test("ends at its duration, having waited for it", async () => {
    const clock = systemClock();
    const { turns } = await ran({ durationS: 0.6, turnSpacingS: 0.25, turnsTarget: null });
    // The machine may be too busy for all three.
    expect(turns.length).toBeGreaterThan(0);
    expect(turns.map((turn) => turn.scheduled_s)).toEqual([0, 0.25, 0.5].slice(0, turns.length));
    expect(clock.nowS()).toBeGreaterThanOrEqual(0.6);
  });

  test("that is cut by max_tokens goes on in the same session", async () => {
    const turns = succeeded((await ran({ maxTokens: 3, turnsTarget: 4 })).turns);
    expect(turns.map((turn) => turn.stop_reason)).toEqual(Array(4).fill("MAX_TOKENS"));
    expect(turns.at(-1)?.session_index).toBe(0);
  });
});

describe("a turn", () => {
  test("whose session the server lost has failed, and the next one opens another", async () => {
    const { turns, gates } = await ran({
      turnsTarget: 5,
      onTurn: (_, told) => {
        // Somebody else closes it; the server does so before it looks at the next turn's calls.
        if (told === 2) for (const { id } of host.server.store.sessions) void host.server.store.close(id);
      },
    });
    expect(turns.map((turn) => (turn.ok ? "ok" : turn.error_class))).toEqual([
      "ok",
      "ok",
      "SessionNotFound",
      "ok",
      "ok",
    ]);
    expect(turns.map((turn) => turn.session_index)).toEqual([0, 0, 0, 1, 1]);
    expect(gates.errors.verdict).toBe("fail");
    expect(gates.work.verdict).toBe("pass");
  });

  test("that takes too long is cancelled and has failed, and its session goes on", async () => {
    // Without an end token of its own an answer is as long as max_tokens allows.
    const { turns } = await ran({ eosTokenIds: [], maxTokens: 1_000_000, turnTimeoutS: 0.2, turnsTarget: 2 });
    expect(turns).toMatchObject([
      { ok: false, session_index: 0, error_class: "TurnTimeout", error_str: "the turn was not done after 0.2 s" },
      { ok: false, session_index: 0, error_class: "TurnTimeout" },
    ]);
  });

  test("after which another model answers has failed", async () => {
    const { turns } = await ran({ info: { modelFingerprint: "another" }, turnsTarget: 1 });
    expect(turns).toMatchObject([{ ok: false, error_class: "ModelChanged" }]);
  });

  test("in flight when the run is told to stop is neither answered nor failed", async () => {
    const stop = new AbortController();
    const { turns } = await ran({
      turnsTarget: null,
      stop: stop.signal,
      onTurn: (_, told) => {
        const works = () => [...host.server.store.sessions].some(({ idle }) => !idle) || undefined;
        if (told === 3) void eventually("the fourth turn", works).then(() => stop.abort());
      },
    });
    expect(turns.length).toBeGreaterThanOrEqual(3);
    expect(turns.every((turn) => turn.ok)).toBe(true);
  });
});

test("the negative control opens a session with the whole history each turn, and the work gate sees it", async () => {
  const { turns, gates } = await ran({ control: "reprefill", turnsTarget: 6 });
  expect(turns.map((turn) => turn.session_index)).toEqual([0, 1, 2, 3, 4, 5]);
  const plain = await ran({ turnsTarget: 6 });
  expect(succeeded(turns).map((turn) => turn.history_length)).toEqual(
    succeeded(plain.turns).map((turn) => turn.history_length),
  );
  expect(gates.work.verdict).toBe("fail");
  expect(gates.memory.verdict).toBe("pass");
});

test("a warm-up leaves no session behind, and throws when a turn of it fails", async () => {
  const options = {
    client: host.connect(),
    info: { modelFingerprint: host.engine.info.fingerprint },
    tokenizer,
    clock: systemClock(),
    workload: builtInWorkload,
    template: "raw",
    control: "none",
    eosTokenIds: [endOfAnswer],
    maxTokens: 8,
    turnTimeoutS: 60,
  } as const;
  expect(await warmUp(new Walk(options), 3, options.clock)).toBe(3);
  expect(host.server.store.activeCount).toBe(0);
  const refused: unknown = await warmUp(new Walk({ ...options, eosTokenIds: [99_999] }), 3, options.clock).catch(
    (e) => e,
  );
  expect(String(refused)).toStartWith("Error: turn 1 of the warm-up failed: InvalidArgument");
});
