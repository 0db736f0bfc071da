import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { removeDeadParts } from "../files/part.ts";
import { privateDir } from "./folder.ts";

/** A file inside the executable. */
export interface EmbeddedFile {
  /** Its name once unpacked. */
  name: string;
  /** Where it can be read. */
  source: string;
  bytes: number;
  /** `contentHash` of its bytes. */
  hash: string;
}

/**
 * Detects damage, not malice: whoever can write to a private cache folder can replace the executable as well. It reads
 * ONNX Runtime's 46 MB in 5 ms, at every start; SHA-256 takes 50 to 200 ms.
 */
export function contentHash(bytes: Uint8Array): string {
  return Bun.hash.xxHash3(bytes).toString(16).padStart(16, "0");
}

/** One name for a set of embedded files; another set has another name. */
export function setHash(files: readonly EmbeddedFile[]): string {
  return contentHash(Buffer.from(files.map(({ name, hash }) => `${name} ${hash}`).join("\n")));
}

/**
 * Puts every file that is missing or damaged into `dir`, and returns `dir`. Each appears whole or not at all, so that
 * concurrent starts, a kill or a full disk leave nothing half-written in its place.
 * @throws when `dir` is not private or not writable, or the executable itself is damaged
 */
export function unpack(files: readonly EmbeddedFile[], dir: string): string {
  privateDir(dirname(dir));
  privateDir(dir);
  removeDeadParts(dir);
  for (const file of files) {
    const path = join(dir, file.name);
    if (!isIntact(path, file)) write(path, file);
  }
  return dir;
}

function isIntact(path: string, file: EmbeddedFile): boolean {
  const present = fs.lstatSync(path, { throwIfNoEntry: false });
  return present?.isFile() === true && present.size === file.bytes && contentHash(fs.readFileSync(path)) === file.hash;
}

function write(path: string, file: EmbeddedFile): void {
  const bytes = fs.readFileSync(file.source);
  if (contentHash(bytes) !== file.hash) throw new Error(`the executable is damaged (${file.name}): copy it again`);
  if (fs.lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) fs.rmSync(path, { recursive: true });
  writeFileAtomically(path, bytes, { mode: 0o700 });
}
