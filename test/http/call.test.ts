import { expect, test } from "bun:test";
import { ApiError } from "../../src/http/api-error.ts";
import { Call } from "../../src/http/call.ts";
import { rejection } from "../rejection.ts";

function callWith(body: ReadableStream<Uint8Array> | string, { bodyTimeoutS = 60, maxBytes = 100 } = {}): Call {
  const request = new Request("http://127.0.0.1/v1/responses", { method: "POST", body });
  return new Call({
    request,
    params: [],
    maxBytes,
    bodyTimeoutS,
    arrived: () => {},
    stop: new AbortController().signal,
    end: () => {},
  });
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
