import type { WriteStream } from "node:tty";

type Stream = Pick<WriteStream, "write"> & { isTTY?: boolean };

/** Whether a stream takes colours: a terminal, unless NO_COLOR is set (https://no-color.org) or TERM is dumb. */
export function colours(stream: Stream): boolean {
  return Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}

/** Ends when all that was written has left the process, with the first error of stdout. */
let written: Promise<Error | undefined> = Promise.resolve(undefined);

function write(stream: NodeJS.WriteStream, text: string): Promise<Error | undefined> {
  return new Promise((done) => stream.write(text, (error) => done(error ?? undefined)));
}

/** Data, for a person or a pipe: one line, or several, on stdout. */
export function print(text: string): void {
  printPiece(`${text}\n`);
}

/** Data that comes piece by piece; the last piece ends the line. */
export function printPiece(text: string): void {
  const [before, now] = [written, write(process.stdout, text)];
  written = before.then((error) => error ?? now);
}

/** A message about the work, on stderr, so that stdout stays data. */
export function say(text: string): void {
  const [before, now] = [written, write(process.stderr, `${text}\n`)];
  written = before.then(async (error) => {
    await now;
    return error;
  });
}

/** Whether stdout takes no more, because its reader went away or the disk is full: nothing is gained by going on. */
export async function isOutputGone(): Promise<boolean> {
  return (await written) !== undefined;
}

/**
 * Waits until everything written has left the process.
 * @throws when stdout could not take it (a full disk). A reader that went away, like `head`, has got what it wanted.
 */
export async function flushed(): Promise<void> {
  const error = await written;
  written = Promise.resolve(undefined);
  if (error && !("code" in error && error.code === "EPIPE")) {
    throw new Error(`the output could not be written: ${error.message}`);
  }
}
