import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { type Content, piecesOf, writeFileAtomically } from "./atomic-file.ts";
import { type Destination, destination } from "./destination.ts";
import { codeOf } from "./file-error.ts";

/** Writes all of `content`. What is at the path is looked at again: hours may have passed. @throws Error naming it */
export async function writeTo(decided: Destination, content: Content): Promise<void> {
  const { kind, path } = decided;
  if (kind === "file") return replaceFile(decided, content);
  try {
    if (kind === "stdout") await writeStdout(content);
    else await writeStream(path, content);
  } catch (cause) {
    // A reader that went away, like `head`, has got what it wanted.
    if (codeOf(cause) === "EPIPE") return;
    throw new Error(`can't write ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** `writeTo` for a file, synchronously. */
export function replaceFile({ path, rules }: Destination, content: Content): void {
  const { kind, target } = destination(path, rules);
  if (kind !== "file") throw new Error(`can't write ${path}: it is no longer a regular file`);
  writeFileAtomically(target, content);
}

async function writeStdout(content: Content): Promise<void> {
  for (const piece of piecesOf(content)) {
    await new Promise<void>((done, fail) => {
      process.stdout.write(piece, (error) => (error ? fail(error) : done()));
    });
  }
}

async function writeStream(path: string, content: Content): Promise<void> {
  const stream = await open(path, constants.O_WRONLY);
  try {
    for (const piece of piecesOf(content)) {
      for (let at = 0; at < piece.length; ) at += (await stream.write(piece, at)).bytesWritten;
    }
  } finally {
    await stream.close();
  }
}
