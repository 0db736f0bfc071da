import type { EndReason, Engine, GenerateRequest, Generation, SequenceId, Step } from "../engine/engine.ts";

/**
 * The ids of one generation on their way to one reader. The engine does not wait for the reader between two steps, but
 * runs at most `ahead` steps more than were read: with 0, a step begins when its id is asked for.
 */
export class IdStream implements AsyncIterable<number> {
  readonly #generation: Generation;
  /** Settles with the generation; a failure is kept for the reader. */
  readonly #over: Promise<void>;
  readonly #unread: (readonly number[])[] = [];
  /** Steps that were reported, but whose ids can't be read yet. */
  #kept = 0;
  #lastKept: Promise<void> | undefined;
  /** Steps that the engine may run and has not reported yet. */
  #allowed = 0;
  #wake = () => {};
  #end: { reason: EndReason } | { error: unknown } | undefined;

  /**
   * `onStep` sees each step as it is committed, read or not; if it returns a promise, the ids can be read once that has
   * resolved. When it throws or rejects, the generation fails with that.
   */
  constructor(
    engine: Engine,
    sequence: SequenceId,
    request: GenerateRequest,
    onStep: (step: Step) => Promise<void> | undefined,
    private readonly ahead: number,
  ) {
    this.#generation = engine.generate(sequence, request, (step) => {
      this.#allowed--;
      try {
        const safe = onStep(step);
        if (safe === undefined) this.#told(step);
        else this.#keep(step, safe);
      } catch (error) {
        this.#fail(error);
      }
    });
    this.#over = this.#generation.ended
      .then(
        (reason) => ({ reason }),
        (error: unknown) => ({ error }),
      )
      .then(async (end) => {
        await this.#lastKept;
        this.#ended(end);
      });
  }

  /** Why it ended; undefined while it has not, or when it failed. */
  get reason(): EndReason | undefined {
    return this.#end && "reason" in this.#end ? this.#end.reason : undefined;
  }

  /** The engine has nothing to do for it until somebody reads more. */
  get resting(): boolean {
    return this.#allowed === 0;
  }

  /** Ends it before the next step; resolves when the last step was seen. What is unread can still be read. */
  async stop(): Promise<void> {
    if (this.#end === undefined) this.#generation.stop();
    await this.#over;
  }

  /** Throws what the generation failed with, after the ids that came before. */
  async *[Symbol.asyncIterator](): AsyncGenerator<number, void> {
    for (;;) {
      this.#allowUpTo(Math.max(1, this.ahead));
      while (this.#unread.length === 0 && this.#end === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      const ids = this.#unread.shift();
      if (ids === undefined) break;
      this.#allowUpTo(this.ahead);
      yield* ids;
    }
    if (this.#end && "error" in this.#end) throw this.#end.error;
  }

  #allowUpTo(steps: number): void {
    const more = steps - this.#allowed - this.#kept - this.#unread.length;
    if (more <= 0 || this.#end !== undefined) return;
    this.#allowed += more;
    this.#generation.allow(more);
  }

  #told({ tokenIds }: Step): void {
    this.#unread.push(tokenIds);
    this.#wake();
  }

  #keep(step: Step, safe: Promise<void>): void {
    this.#kept++;
    this.#lastKept = Promise.all([this.#lastKept, safe]).then(
      () => {
        this.#kept--;
        if (this.#end === undefined) this.#told(step);
      },
      (error: unknown) => {
        this.#kept--;
        this.#fail(error);
      },
    );
  }

  #fail(error: unknown): void {
    this.#end ??= { error };
    this.#generation.stop();
    this.#wake();
  }

  #ended(end: { reason: EndReason } | { error: unknown }): void {
    this.#end ??= end;
    this.#allowed = 0;
    this.#wake();
  }
}
