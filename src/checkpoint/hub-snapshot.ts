import { mkdirSync, renameSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { describeFileFailure } from "../files/disk-space.ts";
import { adoptDeadPart, partPath } from "../files/part.ts";
import { type Download, sizeOf } from "./hub-download.ts";
import type { HubFile } from "./hub-files.ts";

/** One commit of a model, as it grows in the hub cache (`hub-cache.ts` shows the layout). Throws FileError. */
export class HubSnapshot {
  /** With the files under their own names. */
  readonly dir: string;

  /** @param folder The model's, in the cache. */
  constructor(
    readonly folder: string,
    private readonly commit: string,
  ) {
    this.dir = join(folder, "snapshots", commit);
    writing(this.dir, () => mkdirSync(this.dir, { recursive: true }));
    writing(folder, () => mkdirSync(join(folder, "blobs"), { recursive: true }));
  }

  /**
   * Those of `files` that are still to be downloaded. Content that is there was checked when it came, whatever its
   * name.
   */
  missing(files: readonly HubFile[]): Download[] {
    return files
      .map((file) => ({ file, target: this.#blob(file) }))
      .filter(({ file, target }) => sizeOf(target) !== file.bytes || file.bytes === 0)
      .map((wanted) => ({ ...wanted, part: adoptDeadPart(wanted.target) ?? partPath(wanted.target) }));
  }

  /**
   * Gives the content of a file its name, atomically: the model may be in use, and another pull under way. The link is
   * relative, so that the cache can be moved.
   */
  link(file: HubFile): void {
    const path = join(this.dir, file.path);
    writing(path, () => {
      const part = partPath(path);
      symlinkSync(relative(dirname(path), this.#blob(file)), part);
      renameSync(part, path);
    });
  }

  /** From now on `revision` stands for this commit. */
  name(revision: string): void {
    const ref = join(this.folder, "refs", revision);
    writing(ref, () => {
      mkdirSync(dirname(ref), { recursive: true });
      writeFileAtomically(ref, this.commit);
    });
  }

  #blob({ hash }: HubFile): string {
    return join(this.folder, "blobs", hash.hex);
  }
}

function writing(path: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    throw describeFileFailure(path, error, "HF_HUB_CACHE");
  }
}
