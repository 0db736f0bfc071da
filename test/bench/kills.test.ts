import { expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../src/bench/clock.ts";
import { Kills } from "../../src/bench/kills.ts";
import { smokeOptions } from "../../src/bench/options.ts";
import { Walk } from "../../src/bench/walk.ts";
import { builtInWorkload } from "../../src/bench/workload.ts";
import { embeddedModelDir } from "../../src/checkpoint/embedded.ts";
import { UsageError } from "../../src/cli/exit.ts";
import { Client } from "../../src/client/index.ts";
import { OwnServer } from "../../src/connection/own-server.ts";
import { workGate } from "../../src/report/work-gate.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { kakeya } from "../program.ts";
import { scratchDir } from "../scratch.ts";

/** Four turns; before those named, it becomes time to kill the server. */
async function walked(killedIn: readonly number[]) {
  using scratch = scratchDir();
  await using server = await OwnServer.start({
    kakeya,
    flags: ["--state", join(scratch.path, "state")],
    logPath: join(scratch.path, "log"),
  });
  using client = new Client(server.address, { retryS: 0 });
  let due = 0;
  const clock = { ...systemClock(), nowS: () => due };
  const kills = new Kills({ server, times: killedIn.length, durationS: killedIn.length + 1, clock });
  const walk = new Walk({
    client,
    info: await client.runtimeInfo(),
    tokenizer: loadTokenizer(embeddedModelDir()),
    clock,
    workload: builtInWorkload,
    template: "raw",
    control: "none",
    eosTokenIds: [],
    maxTokens: 40,
    turnTimeoutS: 120,
    kills,
  });
  const turns = [];
  for (let i = 0; i < 4; i++) {
    if (killedIn.includes(i)) due++;
    const turn = await walk.turn({ scheduledS: 0, startedS: 0 }, new AbortController().signal);
    if (!turn?.ok) throw new Error(`turn ${i} failed: ${turn?.error_str}`);
    turns.push(turn);
  }
  await kills.recovered(); // The last kill may have come with the answer's last ids already under way.
  return { turns, restarts: kills.restarts, lastAnswerIds: walk.lastAnswerIds };
}

test("a session goes on through kills in the middle of its answers, and computes what it would have computed", async () => {
  const killed = await walked([1, 2]);
  const left = await walked([]);
  expect(killed.restarts).toHaveLength(2);
  expect(left.restarts).toEqual([]);
  const counts = ({ turns }: typeof left) =>
    turns.map((turn) => [turn.n_emitted, turn.history_length, turn.computed_token_total]);
  expect(counts(killed)).toEqual(counts(left));
  expect(killed.lastAnswerIds).toEqual(left.lastAnswerIds);
  expect(workGate(killed.turns).verdict).toBe("pass");
});

test("only the server that smoke starts itself can be killed", () => {
  expect(() => smokeOptions({ kill: "1", address: "127.0.0.1:1" }, [], 0)).toThrow(UsageError);
  expect(() => smokeOptions({ kill: "often" }, [], 0)).toThrow("--kill must be an integer");
  expect(smokeOptions({ kill: "3" }, [], 0).killTimes).toBe(3);
  expect(smokeOptions({}, [], 0).killTimes).toBe(0);
});
