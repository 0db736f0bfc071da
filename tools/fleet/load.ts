import { percentile } from "../../src/report/stats.ts";
import type { Expected } from "./script.ts";
import { type Turn, Walker } from "./walker.ts";

/** Conversations that differ; each is computed once more, alone. */
const scripts = 12;

export interface LoadOptions {
  address: string;
  sessions: number;
  thinkS: number;
  expected: Expected;
  retryS: number;
  goesOn?: boolean;
}

export interface LoadResult {
  sessions: number;
  turns: number;
  failed: number;
  /** Of the failed turns, each kind once, with how often. */
  errors: Record<string, number>;
  /** Sessions whose ids were not those of one engine alone, or whose history is not as long as it was heard. */
  faults: string[];
  first_id_ms: Spread;
  turn_ms: Spread;
}

interface Spread {
  p50: number | null;
  p99: number | null;
  max: number | null;
}

/** Many sessions that talk for as long as something is done to their servers. */
export class Load {
  readonly turns: Turn[] = [];
  readonly #walkers: Walker[];
  readonly #startedMs = performance.now();
  /** By the clock of the servers' logs. */
  readonly startedAtMs = Date.now();

  constructor(options: LoadOptions) {
    this.#walkers = Array.from(
      { length: options.sessions },
      (_, i) =>
        new Walker({
          ...options,
          script: i % scripts,
          nowS: () => this.nowS(),
          onTurn: (turn) => this.turns.push(turn),
        }),
    );
  }

  nowS(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  /** Runs until `meanwhile` is over. */
  async run(meanwhile: () => Promise<void>): Promise<LoadResult> {
    const stop = new AbortController();
    try {
      for (const walker of this.#walkers) await walker.open();
      const running = Promise.all(this.#walkers.map((walker) => walker.run(stop.signal)));
      try {
        await meanwhile();
      } finally {
        stop.abort();
        await running;
      }
      const failed = new Set(this.turns.flatMap(({ error, session }) => (error === undefined ? [] : [session])));
      for (const walker of this.#walkers) {
        if (!failed.has(walker.session?.id.slice(0, 8) ?? "")) await walker.checkLength();
      }
      return this.#result();
    } finally {
      for (const walker of this.#walkers) walker.close();
    }
  }

  #result(): LoadResult {
    const good = this.turns.filter(({ error }) => error === undefined);
    const errors: Record<string, number> = {};
    for (const { error } of this.turns) if (error !== undefined) errors[error] = (errors[error] ?? 0) + 1;
    return {
      sessions: this.#walkers.length,
      turns: this.turns.length,
      failed: this.turns.length - good.length,
      errors,
      faults: this.#walkers.flatMap(({ faults }) => faults),
      first_id_ms: spread(good.map(({ firstIdS, startedS }) => firstIdS - startedS)),
      turn_ms: spread(good.map(({ endedS, startedS }) => endedS - startedS)),
    };
  }
}

export function spread(seconds: readonly number[]): Spread {
  const at = (p: number) => {
    const value = percentile(seconds, p);
    return value === null ? null : Number((1000 * value).toPrecision(4));
  };
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
