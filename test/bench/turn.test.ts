import { expect, test } from "bun:test";
import { infoInMemory } from "../../src/bench/turn.ts";
import { openState } from "../../src/state/open.ts";
import { scratchDir } from "../scratch.ts";
import { serving } from "../serve/serving.ts";

test("what a session holds is asked in memory: a server that was killed after an answer has it parked", async () => {
  using scratch = scratchDir();
  const state = await openState({ dir: scratch.path, sync: "normal" });
  try {
    await using server = await serving({ capacity: 1, state });
    const client = server.connect();
    const session = await client.createSession();
    await session.append([1, 2, 3]);
    await client.createSession(); // takes the only place
    expect(await session.info()).toMatchObject({ parked: true, kvLiveBytes: 0 });
    const { kvBytesPerToken } = await client.runtimeInfo();
    const info = await infoInMemory(session, new AbortController().signal);
    expect(info).toMatchObject({ parked: false, historyTokens: 3, kvLiveBytes: 3 * kvBytesPerToken });
  } finally {
    await state.close();
  }
});
