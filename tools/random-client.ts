import {
  Cancelled,
  Client,
  InvalidArgument,
  type KakeyaError,
  ResourceExhausted,
  type RuntimeInfo,
  type Session,
  SessionNotFound,
} from "../src/client/index.ts";

type ErrorClass = new (...args: never[]) => KakeyaError;

/** What one kind of call may fail with when everything is right. */
const mayFailWith: Record<Operation, readonly ErrorClass[]> = {
  create: [ResourceExhausted, SessionNotFound],
  append: [SessionNotFound],
  generate: [SessionNotFound],
  cancel: [SessionNotFound, Cancelled],
  check: [SessionNotFound],
  close: [SessionNotFound],
  bad: [InvalidArgument, SessionNotFound],
};

export const operations = ["create", "append", "generate", "cancel", "check", "close", "bad"] as const;
export type Operation = (typeof operations)[number];

export interface Outcome {
  operation: Operation;
  latencyMs: number;
  /** The error's class; absent: it went well. */
  error?: string;
  /** The error, or the count that is off, when nothing may explain it. */
  unexpected?: string;
}

/** One connection that does random things for as long as it is told to. */
export async function randomClient(
  address: string,
  info: RuntimeInfo,
  random: () => number,
  goesOn: () => boolean,
  report: (outcome: Outcome) => void,
): Promise<void> {
  let client = new Client(address);
  let session: Session | undefined;
  const below = (n: number) => Math.floor(random() * n);
  const ids = (length: number) => Array.from({ length }, () => below(info.vocabSize));

  const run: Record<Operation, () => Promise<string | undefined>> = {
    async create() {
      session = await client.createSession({ eosTokenIds: info.defaultEosTokenIds, label: "mixed load" });
      await session.append(ids(1 + below(10)));
      return undefined;
    },
    async append() {
      await session?.append(ids(1 + below(random() < 0.05 ? 2000 : 100)));
      return undefined;
    },
    async generate() {
      const sampling = random() < 0.5 ? {} : { temperature: 1, seed: below(2 ** 31) };
      const maxTokens = 1 + below(32);
      let arrived = 0;
      for await (const _ of session?.generate({ maxTokens, ...sampling }) ?? []) arrived++;
      const said = session?.lastResult?.generatedTokens;
      return said === arrived ? undefined : `${arrived} ids arrived, done says ${said}`;
    },
    async cancel() {
      const abort = new AbortController();
      let left = below(8);
      const way = random();
      if (way < 0.1) {
        // The whole connection goes; the session is picked up by the next one.
        const id = session?.id ?? "";
        const cut = client;
        setTimeout(() => cut.close(), below(20));
        client = new Client(address);
        session = client.session(id);
        for await (const _ of cut.session(id).generate({ maxTokens: 10_000 }));
        return undefined;
      }
      for await (const _ of session?.generate({ maxTokens: 10_000, signal: abort.signal }) ?? []) {
        if (left-- > 0) continue;
        if (way < 0.5) break;
        abort.abort();
      }
      return undefined;
    },
    async check() {
      const { historyTokens, computedTokens, kvLiveBytes } = (await session?.info()) ?? {};
      const cached = Math.min(historyTokens ?? 0, info.sink + info.window);
      if (computedTokens !== historyTokens)
        return `computed ${computedTokens} tokens for a history of ${historyTokens}`;
      if (kvLiveBytes !== cached * info.kvBytesPerToken) return `${kvLiveBytes} live bytes for ${cached} cached tokens`;
      return undefined;
    },
    async close() {
      const closing = session;
      session = undefined;
      await closing?.close();
      return undefined;
    },
    async bad() {
      const calls = [
        () => session?.append([info.vocabSize]),
        () => Array.fromAsync(session?.generate({ maxTokens: 0 }) ?? []),
        () => Array.fromAsync(session?.generate({ maxTokens: 1, temperature: Number.NaN }) ?? []),
        () => client.session("no such session").info(),
        () => client.createSession({ label: "x".repeat(1000) }),
      ];
      await calls[below(calls.length)]?.();
      return "a bad call was answered as if it were good";
    },
  };

  while (goesOn()) {
    const roll = random();
    const operation: Operation =
      session === undefined
        ? "create"
        : roll < 0.3
          ? "append"
          : roll < 0.65
            ? "generate"
            : roll < 0.75
              ? "cancel"
              : roll < 0.87
                ? "check"
                : roll < 0.92
                  ? "close"
                  : "bad";
    const startedAt = performance.now();
    const outcome: Outcome = { operation, latencyMs: 0 };
    try {
      const wrong = await run[operation]();
      if (wrong !== undefined) outcome.unexpected = wrong;
    } catch (error) {
      outcome.error = error instanceof Error ? error.name : String(error);
      if (!mayFailWith[operation].some((allowed) => error instanceof allowed)) {
        outcome.unexpected = error instanceof Error ? (error.stack ?? error.message) : String(error);
      }
      if (error instanceof SessionNotFound) session = undefined;
      // As a client of a full server should.
      if (error instanceof ResourceExhausted) await Bun.sleep(20 + below(80));
    }
    outcome.latencyMs = performance.now() - startedAt;
    report(outcome);
  }
  await session?.close().catch(() => {});
  client.close();
}
