import { expect, test } from "bun:test";
import { join } from "node:path";
import { $ } from "bun";

async function behaviour(mode: "patched" | "plain"): Promise<unknown> {
  return $`${process.execPath} ${join(import.meta.dir, "bun-http2-case.ts")} ${mode}`.json();
}

test("patched, a stalled stream holds up no other, cancels are no flood, and headers stay out of HPACK's table", async () => {
  expect(await behaviour("patched")).toEqual({
    answersBesideStalledStream: true,
    answersAfterCancels: true,
    indexesHeaders: false,
  });
}, 20_000);

test("Bun still needs each part of src/grpc/bun-http2.ts: when this fails, drop the part that it names", async () => {
  expect(await behaviour("plain")).toEqual({
    answersBesideStalledStream: false,
    answersAfterCancels: false,
    indexesHeaders: true,
  });
}, 20_000);
