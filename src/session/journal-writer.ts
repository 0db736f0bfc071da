import { StateError } from "../state/errors.ts";
import type { JournalEntry, StateStore } from "../state/store.ts";
import { NotRecorded } from "./errors.ts";

interface Waiting {
  entry: JournalEntry;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * Writes ids to the journal. Ids that come at the same time, such as those of one decode step of all sessions, go into
 * one transaction. So do ids that come while a transaction is being written.
 */
export class JournalWriter {
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  constructor(private readonly state: Pick<StateStore, "commit">) {}

  /** Resolves when the ids are safe. @throws NotRecorded: they are not in the journal, and never will be */
  write(entry: JournalEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, resolve, reject });
      this.#writing ??= this.#write().finally(() => {
        this.#writing = undefined;
      });
    });
  }

  /** Resolves when all that was given until now is written or refused. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      // All sessions of one step report in the same turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#commit(this.#waiting.splice(0));
    }
  }

  /**
   * When they can't be written together, each is written alone, so that only the faulty one fails. Where the database
   * is away, none can be, and what became of them is not known.
   */
  async #commit(batch: readonly Waiting[]): Promise<void> {
    try {
      await this.state.commit(batch.map(({ entry }) => entry));
      for (const { resolve } of batch) resolve();
    } catch (error) {
      const isAway = error instanceof StateError && error.kind === "unreachable";
      if (batch.length > 1 && !isAway) for (const one of batch) await this.#commit([one]);
      else for (const { reject } of batch) reject(new NotRecorded(error));
    }
  }
}
