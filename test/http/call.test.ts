import { expect, test } from "bun:test";
import { ApiError } from "../../src/http/api-error.ts";
import { Call } from "../../src/http/call.ts";
import { UnfinishedBodies } from "../../src/http/unfinished-bodies.ts";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";

interface Given {
  bodyTimeoutS?: number;
  maxBytes?: number;
  unfinished?: UnfinishedBodies;
  signal?: AbortSignal;
}

function callWith(body: ReadableStream<Uint8Array> | string, given: Given = {}): Call {
  const { bodyTimeoutS = 60, maxBytes = 100, unfinished = new UnfinishedBodies(1000), signal = null } = given;
  const request = new Request("http://127.0.0.1/v1/responses", { method: "POST", body, signal });
  const stop = new AbortController().signal;
  return new Call({ request, params: [], maxBytes, bodyTimeoutS, unfinished, stop, end: () => {} });
}

/** A body that begins with so many spaces, and is the number 1 when it is ended. */
function beginning(bytes: number) {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  void writer.write(new Uint8Array(bytes).fill(0x20)).catch(() => {});
  return {
    readable,
    end: async () => {
      await writer.write(Buffer.from("1"));
      await writer.close();
    },
  };
}

async function statusOf(work: Promise<unknown>): Promise<number> {
  const error = await rejection(work);
  if (error instanceof ApiError) return error.status;
  throw error;
}

test("a body that never comes is given up", async () => {
  expect(await statusOf(callWith(new ReadableStream(), { bodyTimeoutS: 0.01 }).body())).toBe(408);
});

test("a body may have its limit, and no byte more", async () => {
  const text = JSON.stringify("x".repeat(98));
  expect(await callWith(text).body()).toBe("x".repeat(98));
  expect(await statusOf(callWith(text, { maxBytes: 99 }).body())).toBe(413);
});

test("an empty body is an object only where it may be left out", async () => {
  expect(await callWith("").body({ orEmpty: true })).toEqual({});
  expect(await statusOf(callWith("").body())).toBe(400);
});

test("of bodies that don't end, the largest goes when together they are too many bytes; the others stay", async () => {
  const unfinished = new UnfinishedBodies(200);
  const [small, large, last] = [beginning(70), beginning(90), beginning(60)];
  const smallBody = callWith(small.readable, { unfinished }).body();
  const largeEnd = statusOf(callWith(large.readable, { unfinished }).body());
  await eventually("both are held", () => (unfinished.bytes === 160 ? true : undefined));
  expect(await callWith('"short"', { unfinished }).body()).toBe("short");
  const lastBody = callWith(last.readable, { unfinished }).body();
  expect(await largeEnd).toBe(503);
  await Promise.all([small.end(), last.end()]);
  expect(await Promise.all([smallBody, lastBody])).toEqual([1, 1]);
  expect(unfinished.bytes).toBe(0);
});

test("the memory of a body is free when it was refused, as when it was read", async () => {
  const chunks = [40, 40, 40].map((bytes) => new Uint8Array(bytes).fill(0x31));
  const body = () =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk);
        controller.close();
      },
    });
  expect(await statusOf(callWith(body(), { maxBytes: 100 }).body())).toBe(413);
  expect(chunks.map(({ length }) => length)).toEqual([0, 0, 0]);
});

test("a client that leaves in the middle of its body is no failure of the server", async () => {
  const client = new AbortController();
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      client.abort();
      controller.error(client.signal.reason);
    },
  });
  expect(await statusOf(callWith(body, { signal: client.signal }).body())).toBe(400);
});
