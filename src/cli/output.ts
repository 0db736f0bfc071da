import type { WriteStream } from "node:tty";

type Stream = Pick<WriteStream, "write"> & { isTTY?: boolean };

/** Whether a stream takes colours: a terminal, unless NO_COLOR is set (https://no-color.org) or TERM is dumb. */
export function colours(stream: Stream): boolean {
  return Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}

/** Data, for a person or a pipe: one line, or several, on stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A message about the work, on stderr, so that stdout stays data. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Waits until what was written has left the process; a closed pipe ends the wait too. */
export async function flushed(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write("", done))));
}
