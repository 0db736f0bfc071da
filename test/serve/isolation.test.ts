import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { type Client, type GenerateOptions, ResourceExhausted, type Session } from "../../src/client/index.ts";
import { seededRandom } from "../seeded-random.ts";
import { type Serving, serving } from "./serving.ts";

let server: Serving;
let client: Client;
beforeAll(async () => {
  server = await serving({ capacity: 6 });
  client = server.connect();
});
afterAll(() => server[Symbol.asyncDispose]());

const vocabSize = 2048;
const tokenIds = (maxLength: number) => fc.array(fc.nat(vocabSize - 1), { minLength: 1, maxLength });
const sampling = fc.oneof(
  fc.constant({}),
  fc.record({ temperature: fc.constantFrom(0.7, 1, 1.5), seed: fc.bigInt(0n, 2n ** 64n - 1n), topK: fc.nat(50) }),
);
/** One turn: what is appended, and how it is continued. */
const turn = fc.record({ ids: tokenIds(60), maxTokens: fc.integer({ min: 1, max: 8 }), sampling });
type Turn = typeof turn extends fc.Arbitrary<infer T> ? T : never;

async function generated(session: Session, options: GenerateOptions): Promise<number[]> {
  return Array.fromAsync(session.generate(options));
}

/** A cancelled call keeps its session busy until its step ends, and with all busy there is no room for a new one. */
async function openSession(): Promise<Session> {
  for (;;) {
    try {
      return await client.createSession();
    } catch (error) {
      if (!(error instanceof ResourceExhausted)) throw error;
      await Bun.sleep(5);
    }
  }
}

async function converse(turns: readonly Turn[], append: (session: Session, ids: number[]) => Promise<unknown>) {
  const session = await openSession();
  const answers: number[][] = [];
  for (const { ids, maxTokens, sampling: how } of turns) {
    await append(session, ids);
    answers.push(await generated(session, { maxTokens, ...how }));
  }
  const { historyTokens } = await session.info();
  await session.close();
  return { answers, historyTokens };
}

const atOnce = (session: Session, ids: number[]) => session.append(ids);

test("sessions that run at the same time answer as each does alone", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(turn, { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 6 }),
      async (all) => {
        const alone = [];
        for (const turns of all) alone.push(await converse(turns, atOnce));
        const together = await Promise.all(all.map((turns) => converse(turns, atOnce)));
        expect(together).toEqual(alone);
      },
    ),
    { numRuns: 12 },
  );
}, 60_000);

test("however a history is split into appends, the answers are the same", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(turn, { minLength: 1, maxLength: 3 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
      async (turns, cuts) => {
        const expected = await converse(turns, atOnce);
        const oneByOne = await converse(turns, async (session, ids) => {
          for (const id of ids) await session.append([id]);
        });
        const split = await converse(turns, async (session, ids) => {
          for (let rest = ids; rest.length > 0; ) {
            const { value: cut } = cuts.next();
            await session.append(rest.slice(0, cut));
            rest = rest.slice(cut);
          }
        });
        expect(oneByOne).toEqual(expected);
        expect(split).toEqual(expected);
      },
    ),
    { numRuns: 12 },
  );
}, 60_000);

test("a session's answers don't change while others come, cancel, and are evicted", async () => {
  const turns: Turn[] = [
    { ids: [1, 2, 3, 4, 5], maxTokens: 40, sampling: { temperature: 1, seed: 7n, topK: 40 } },
    { ids: Array.from({ length: 90 }, (_, i) => i), maxTokens: 40, sampling: {} },
  ];
  const alone = await converse(turns, atOnce);

  let storming = true;
  const storm = async (seed: number) => {
    const random = seededRandom(seed);
    // Leaves its sessions behind, so that the server evicts all the time; the oldest first, so never the one
    // that this test talks to.
    while (storming) {
      const session = await openSession();
      await session.append([9, 9, 9]);
      for await (const _ of session.generate({ maxTokens: 100 })) if (random() < 0.2) break;
    }
  };
  const storms = [storm(1), storm(2)];
  for (let round = 0; round < 5; round++) expect(await converse(turns, atOnce)).toEqual(alone);
  storming = false;
  await Promise.all(storms);
  expect(server.logged.filter((line) => line.includes("session evicted")).length).toBeGreaterThan(5);
}, 60_000);
