import { formatBytes } from "./units.ts";

export interface Progress {
  /** Columns for text; longer text is cut. Changes with the terminal's window; no limit where nothing is shown. */
  readonly columns: number;
  /** Shows `text` in place of what was shown before. */
  update(text: string): void;
  /** Removes the line, so that results follow a clean screen. */
  end(): void;
}

interface Terminal {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

const repaintMs = 100;
const usualColumns = 80;

/** One line that repaints itself on a terminal's stderr, at most ten times a second; elsewhere it writes nothing. */
export function progress(
  terminal: Terminal = process.stderr,
  now: () => number = performance.now.bind(performance),
): Progress {
  if (!terminal.isTTY) return { columns: Number.POSITIVE_INFINITY, update() {}, end() {} };
  let paintedAt = Number.NEGATIVE_INFINITY;
  return {
    get columns() {
      // A terminal that was never told its size says 0. The last column stays empty: some terminals wrap in it.
      return (terminal.columns || usualColumns) - 1;
    },
    update(text) {
      if (now() - paintedAt < repaintMs) return;
      paintedAt = now();
      terminal.write(`\r\x1b[2K${text.slice(0, this.columns)}`);
    },
    end() {
      terminal.write("\r\x1b[2K");
    },
  };
}

/** Shows the progress of `what`: bytes done, bytes in all, and the speed since this call. */
export function showBytes(
  line: Progress,
  what: string,
  now: () => number = performance.now.bind(performance),
): (progress: { doneBytes: number; totalBytes: number }) => void {
  const startedAt = now();
  return ({ doneBytes, totalBytes }) => {
    const rate = doneBytes / Math.max((now() - startedAt) / 1000, 1e-3);
    line.update(`${what}: ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}, ${formatBytes(rate)}/s`);
  };
}
