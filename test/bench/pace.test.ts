import { expect, test } from "bun:test";
import fc from "fast-check";
import { Pace, waitUntil } from "../../src/bench/pace.ts";
import { HeldClock } from "./held-clock.ts";

const never = new AbortController().signal;

test("turns are meant to begin at multiples of the spacing, however long each one takes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 60 }),
      fc.array(fc.nat(300), { maxLength: 50 }),
      async (spacing, took) => {
        const clock = new HeldClock();
        const pace = new Pace(spacing, clock);
        for (const [n, durationS] of took.entries()) {
          const { scheduledS, startedS } = await pace.next(never);
          expect(scheduledS).toBe(n * spacing);
          expect(startedS).toBe(clock.nowS());
          expect(startedS).toBeGreaterThanOrEqual(scheduledS);
          clock.advance(durationS);
        }
      },
    ),
  );
});

test("a stall is charged to the turns that waited behind it, until the schedule is caught up with", async () => {
  const clock = new HeldClock();
  const pace = new Pace(10, clock);
  const delays: number[] = [];
  for (const tookS of [1, 35, 1, 1, 1, 1]) {
    const { scheduledS, startedS } = await pace.next(never);
    delays.push(startedS - scheduledS);
    clock.advance(tookS);
  }
  expect(delays).toEqual([0, 0, 25, 16, 7, 0]);
});

test("the time in which the machine slept moves the schedule: nobody was there to ask", async () => {
  const clock = new HeldClock();
  const pace = new Pace(30, clock);
  await pace.next(never);
  clock.oversleepsS.push(3600);
  expect(await pace.next(never)).toEqual({ scheduledS: 3630, startedS: 3630 });
  expect(await pace.next(never)).toEqual({ scheduledS: 3660, startedS: 3660 });
});

test("without spacing a turn is meant to begin when it does", async () => {
  const clock = new HeldClock();
  const pace = new Pace(0, clock);
  clock.advance(1.25);
  expect(await pace.next(never)).toEqual({ scheduledS: 1.25, startedS: 1.25 });
});

test("a wait ends at once when it is told to", async () => {
  const clock = new HeldClock();
  expect(await waitUntil(1e9, clock, AbortSignal.abort())).toBe(0);
  expect(clock.nowS()).toBe(0);
});
