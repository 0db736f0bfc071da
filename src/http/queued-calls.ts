import { SessionError } from "../session/errors.ts";
import type { GenerateOptions, GenerationEvent, SessionInfo } from "../session/session.ts";
import type { SessionStore } from "../session/store.ts";

/**
 * The calls of one turn, queued all at once: so the session is never idle between them, and never makes room for
 * another in the middle of a turn.
 */
export class QueuedCalls {
  /** Resolves when all ids are appended. */
  readonly appended: Promise<unknown>;
  /** What the session is once the generation has ended. */
  readonly after: Promise<SessionInfo>;
  readonly #before: Promise<unknown>;
  readonly #events: AsyncGenerator<GenerationEvent, void>;
  readonly #first: Promise<IteratorResult<GenerationEvent, void>>;

  constructor(store: SessionStore, sessionId: string, ids: readonly Uint32Array[], options: GenerateOptions) {
    this.#before = store.info(sessionId);
    this.appended = Promise.all(ids.map((some) => store.append(sessionId, some)));
    this.#events = store.generate(sessionId, options);
    this.#first = this.#events.next();
    this.after = store.info(sessionId);
    // Those who wait for them get their errors. When one fails, the others fail with it, and nobody may be waiting for
    // those.
    for (const call of [this.#before, this.appended, this.#first, this.after]) call.catch(() => {});
  }

  /** Whether there is such a session, fit for use; if not, all calls have failed. */
  async found(): Promise<boolean> {
    try {
      await this.#before;
      return true;
    } catch (error) {
      if (error instanceof SessionError) return false;
      throw error;
    }
  }

  /** Of the generation. */
  async *events(): AsyncGenerator<GenerationEvent, void> {
    for (let next = await this.#first; !next.done; next = await this.#events.next()) yield next.value;
  }

  /** Ends the generation, if it has not ended yet. */
  async end(): Promise<void> {
    // The queue is served in order: without this, a generation that was never read would block it.
    await this.#events.return().catch(() => {});
  }
}
