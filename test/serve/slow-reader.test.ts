import { expect, test } from "bun:test";
import { GenerateRequest } from "../../src/gen/kakeya/v1/runtime.ts";
import {
  callHeaders,
  endHeaders,
  endStream,
  frame,
  frameType,
  message,
  openSocket,
  preface,
  uint32,
} from "../../tools/raw-http2.ts";
import { serving } from "./serving.ts";

const windowBytes = 2000;
/** A length, a tag and an id: no answer with an id takes less on the wire. */
const bytesPerId = 5 + 2;
const initialWindowSize = 4;

test("a reader that stops reading stops its generation, and goes on where it stopped", async () => {
  await using server = await serving();
  const client = server.connect();
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  const generate = GenerateRequest.encode(
    GenerateRequest.fromPartial({ sessionId: session.id, maxTokens: 2 ** 32 - 1 }),
  );

  const reader = await openSocket(server.address);
  reader.resume();
  reader.write(preface);
  reader.write(
    frame(frameType.settings, 0, 0, Buffer.concat([Buffer.from([0, initialWindowSize]), uint32(windowBytes)])),
  );
  reader.write(frame(frameType.headers, endHeaders, 1, callHeaders("/kakeya.v1.RuntimeService/Generate")));
  reader.write(frame(frameType.data, endStream, 1, message(generate.finish())));

  // It stands still when another session's steps, in which it would take part, no longer move it.
  const other = await client.createSession();
  await other.append([1, 2, 3]);
  const stalledAt = async () => {
    const historyTokens = () =>
      [...server.server.store.sessions].find(({ id }) => id === session.id)?.historyTokens ?? 0;
    for (let before = -1; ; before = historyTokens()) {
      for await (const _ of other.generate({ maxTokens: 200 }));
      if (historyTokens() === before) return before;
    }
  };
  // The window, and the sixteen messages that a stream of Node.js takes beyond it.
  const first = await stalledAt();
  expect(first).toBeGreaterThan(100);
  expect(first).toBeLessThan(windowBytes / bytesPerId + 50);
  reader.write(frame(frameType.windowUpdate, 0, 1, uint32(windowBytes)));
  const second = await stalledAt();
  expect(second).toBeGreaterThan(first + 100);
  expect(second).toBeLessThan((2 * windowBytes) / bytesPerId + 50);

  reader.destroy();
  expect((await session.info()).historyTokens).toBe(second);
}, 20_000);
