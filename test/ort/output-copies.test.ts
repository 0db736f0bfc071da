import { expect, test } from "bun:test";
import { OutputCopies } from "../../src/ort/output-copies.ts";

const mebibyte = 2 ** 20;

test("copies are collected when those counted come to 8 MiB, and not before", async () => {
  const dropped = await Promise.all(Array.from({ length: 50 }, makeAndDrop));
  const copies = new OutputCopies();
  copies.count(7 * mebibyte);
  const before = await alive(dropped);
  copies.count(mebibyte);
  const after = await alive(dropped);
  expect(before).toBe(50);
  expect(after).toBeLessThan(10); // the collector takes what lies on the stack for a reference
});

async function makeAndDrop(): Promise<WeakRef<Uint8Array>> {
  return new WeakRef(new Uint8Array(1000));
}

/** A WeakRef holds what it answered with until the end of the job. */
async function alive(refs: WeakRef<Uint8Array>[]): Promise<number> {
  await Bun.sleep(0);
  const count = refs.filter((ref) => ref.deref() !== undefined).length;
  await Bun.sleep(0);
  return count;
}
