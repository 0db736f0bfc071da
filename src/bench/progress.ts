/** What a long run says while it runs: a live line on a terminal, elsewhere a line a minute. */

import { type Progress as LiveLine, progress } from "../cli/progress.ts";
import { formatBytes } from "../cli/units.ts";
import { columnOf } from "../report/column.ts";
import { formatSeconds } from "../report/figures.ts";
import { type Gates, gateNames } from "../report/report.ts";
import { percentile } from "../report/stats.ts";
import type { RunRecord } from "./record.ts";

/** Gates and median look at every turn: they are brought up to date this often, between two turns. */
const summaryEveryS = 60;
/** Up to so many turns a median costs nothing. */
const cheapMedianTurns = 1000;

export interface ProgressOptions {
  record: RunRecord;
  durationS: number;
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
    // A run must not be kept alive by what it says.
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
    const { record, durationS, nowS, terminal } = this.#options;
    const line = progressLine({ record, durationS, nowS: nowS(), gates: this.#gates, medianS: this.#medianS });
    this.#live.update(line);
    if (!terminal.isTTY) terminal.write(`${line}\n`);
  }
}

interface Now {
  record: RunRecord;
  durationS: number;
  nowS: number;
  gates: Gates | undefined;
  medianS: number | null;
}

/**
 * For example "turn 12 · 0:05:31/4:00:00 · 210 ms (median 205 ms) · KV 204 KiB · gates pass, latency open": about a
 * terminal's width.
 */
export function progressLine({ record, durationS, nowS, gates, medianS }: Now): string {
  const parts = [`turn ${record.turns.length}`, `${clockTime(nowS)}/${clockTime(durationS)}`];
  const last = record.turns.at(-1);
  if (last?.ok) parts.push(`${formatSeconds(last.latency_s)} (median ${formatSeconds(medianS ?? last.latency_s)})`);
  if (last?.ok) parts.push(`KV ${formatBytes(last.kv_live_bytes ?? 0)}`);
  if (last && !last.ok) parts.push(`the last turn failed: ${last.error_class}`);
  if (gates) parts.push(standing(gates));
  return parts.join(" · ");
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
