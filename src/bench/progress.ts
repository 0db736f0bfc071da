/** What a long run prints while it runs: a live line on a terminal, elsewhere a line a minute. */

import { type Progress as LiveLine, progress } from "../cli/progress.ts";
import { formatBytes } from "../cli/units.ts";
import { columnOf } from "../report/column.ts";
import { formatSeconds } from "../report/figures.ts";
import { type Gates, gateNames } from "../report/report.ts";
import { percentile } from "../report/stats.ts";
import type { RunRecord } from "./record.ts";
import type { RunOptions } from "./runner.ts";

/** Gates and median look at every turn. They are updated this often, between two turns. */
const summaryEveryS = 60;
/** Up to this many turns, a median costs nothing. */
const cheapMedianTurns = 1000;

export interface ProgressOptions {
  record: RunRecord;
  run: RunOptions;
  nowS: () => number;
  /** Standard error. */
  terminal: { isTTY?: boolean; columns?: number; write(text: string): unknown };
}

export class Progress implements Disposable {
  readonly #options: ProgressOptions;
  readonly #live: LiveLine;
  readonly #timer: ReturnType<typeof setInterval>;
  #gates: Gates | undefined;
  #medianS: number | null = null;
  #summaryS = Number.NEGATIVE_INFINITY;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#live = progress(options.terminal);
    const { isTTY } = options.terminal;
    this.#timer = setInterval(() => this.#say(), isTTY ? 1000 : summaryEveryS * 1000);
    // Printing must not keep a run alive.
    this.#timer.unref();
  }

  /** Call between two turns. */
  onTurn(): void {
    const { nowS, record, terminal } = this.#options;
    const isDue = nowS() - this.#summaryS >= summaryEveryS;
    if (isDue || record.turns.length <= cheapMedianTurns) this.#medianS = medianLatencyS(record);
    if (isDue) {
      this.#gates = record.gates();
      this.#summaryS = nowS();
    }
    if (terminal.isTTY) this.#say();
  }

  /** Clears the live line. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#live.end();
  }

  #say(): void {
    const { record, run, nowS, terminal } = this.#options;
    const now = { record, run, nowS: nowS(), gates: this.#gates, medianS: this.#medianS };
    const line = progressLine(now, this.#live.columns);
    this.#live.update(line);
    if (!terminal.isTTY) terminal.write(`${line}\n`);
  }
}

interface Now {
  record: RunRecord;
  run: RunOptions;
  nowS: number;
  gates: Gates | undefined;
  medianS: number | null;
}

/** What is shown side by side; where there is no room for all, what is needed least is left out first. */
interface Part {
  text: string;
  /** 1: needed most. */
  rank: number;
}

/**
 * For example "turn 12 · 0:05:31/4:00:00 · 210 ms · median 205 ms · KV 204 KiB · gates pass, latency open". For a run
 * that ends after a number of turns: "turn 12/480 · 0:05:31 · ...".
 */
export function progressLine({ record, run, nowS, gates, medianS }: Now, columns = Number.POSITIVE_INFINITY): string {
  const { durationS, turnsTarget, turnSpacingS } = run;
  const endsByTurns = turnsTarget !== null && turnsTarget * turnSpacingS <= durationS;
  const turn = `turn ${record.turns.length}`;
  const parts: Part[] = [
    { rank: 1, text: endsByTurns ? `${turn}/${turnsTarget}` : turn },
    { rank: 2, text: endsByTurns ? clockTime(nowS) : `${clockTime(nowS)}/${clockTime(durationS)}` },
  ];
  const last = record.turns.at(-1);
  if (last?.ok) {
    parts.push({ rank: 4, text: formatSeconds(last.latency_s) });
    parts.push({ rank: 5, text: `median ${formatSeconds(medianS ?? last.latency_s)}` });
    parts.push({ rank: 6, text: `KV ${formatBytes(last.kv_live_bytes ?? 0)}` });
  }
  if (last && !last.ok) parts.push({ rank: 4, text: `the last turn failed: ${last.error_class}` });
  if (gates) parts.push({ rank: 3, text: standing(gates) });
  return fitted(parts, columns);
}

function fitted(parts: readonly Part[], columns: number): string {
  let shown: Part[] = [];
  const line = (some: readonly Part[]) => some.map(({ text }) => text).join(" · ");
  for (const part of parts.toSorted((a, b) => a.rank - b.rank)) {
    const more = parts.filter((one) => one === part || shown.includes(one));
    if (shown.length === 0 || line(more).length <= columns) shown = more;
  }
  return line(shown);
}

/** "gates pass", but for those that don't. */
function standing(gates: Gates): string {
  const others = gateNames.filter((name) => gates[name].verdict !== "pass");
  const named = others.map((name) => `${name} ${gates[name].verdict === "fail" ? "FAILS" : "open"}`);
  return [others.length < gateNames.length ? "gates pass" : "gates", ...named].join(", ");
}

function medianLatencyS({ turns }: RunRecord): number | null {
  return percentile(
    columnOf(turns, (turn) => (turn.ok ? turn.latency_s : null)),
    0.5,
  );
}

/** h:mm:ss */
function clockTime(totalS: number): string {
  const s = Math.floor(totalS);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}
