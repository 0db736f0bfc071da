import { fullGC } from "bun:jsc";
import { expect, test } from "bun:test";
import { makeOldGarbage } from "../old-garbage.ts";
import { serving } from "./serving.ts";

const mib = 2 ** 20;

test("a server frees what outlived its call", async () => {
  await using server = await serving();
  const lives = fullGC();
  const collected = () => server.logged.some((line) => line.includes("heap collected"));
  // Bun may come first, but not always.
  while (!collected()) {
    makeOldGarbage(Math.max(10 * mib, 0.6 * lives));
    await Bun.sleep(100);
  }
  expect(fullGC()).toBeLessThan(lives + 8 * mib);
}, 60_000);
