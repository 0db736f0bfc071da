import { chunkLength } from "../kv/geometry.ts";
import type { Backend, Ran, Sequence } from "./backend.ts";
import type { EndReason, GenerateRequest, Generation, Step } from "./engine.ts";
import { choose } from "./sampling.ts";
import type { Speculation } from "./speculation.ts";

interface Append<S> {
  sequence: S;
  /** What is still to run. */
  rest: Uint32Array;
  logits: "last" | "none";
  resolve: () => void;
  reject: (error: unknown) => void;
}

interface Generating<S> {
  sequence: S;
  request: GenerateRequest;
  /** Tokens that it may still generate, and steps that it may run now. */
  left: number;
  allowed: number;
  onStep: (step: Step) => void;
  end: (reason: EndReason) => void;
  fail: (error: unknown) => void;
}

/**
 * What runs next on a backend: in each round one step of every generation that may run one, then one chunk of one
 * append. So sequences decode together, appends take turns, and neither starves the other. A generation whose reader is
 * slow may run no step and takes no part, so nothing queues up.
 */
export class Scheduler<S extends Sequence> {
  readonly #appends: Append<S>[] = [];
  readonly #generating = new Set<Generating<S>>();
  readonly #between: (() => Promise<void>)[] = [];
  #running = false;

  /** @param speculation guesses the next tokens; without it, a step runs one token of each generation */
  constructor(
    private readonly backend: Backend<S>,
    private readonly speculation?: Speculation<S>,
  ) {}

  /** Does `work` while no step runs. */
  between<T>(work: () => T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#between.push(async () => {
        try {
          resolve(await work());
        } catch (error) {
          reject(error);
        }
      });
      this.#wake();
    });
  }

  /** Runs `tokenIds`, chunk by chunk; resolves when all of them are cached. */
  append(sequence: S, tokenIds: Uint32Array, logits: "last" | "none"): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#appends.push({ sequence, rest: tokenIds, logits, resolve, reject });
      this.#wake();
    });
  }

  generate(sequence: S, request: GenerateRequest, onStep: (step: Step) => void): Generation {
    const { promise, resolve, reject } = Promise.withResolvers<EndReason>();
    const over = () => this.#generating.delete(generating);
    const generating: Generating<S> = {
      sequence,
      request,
      left: request.maxTokens,
      allowed: 0,
      onStep,
      end: (reason) => over() && resolve(reason),
      fail: (error) => over() && reject(error),
    };
    this.#generating.add(generating);
    return {
      ended: promise,
      allow: (steps) => {
        generating.allowed += steps;
        this.#wake();
      },
      stop: () => void this.between(() => generating.end("stopped")),
    };
  }

  /** Ends what still runs on a sequence that is freed. */
  forget(sequence: S): void {
    this.speculation?.forget(sequence);
    for (const generating of this.#generating) if (generating.sequence === sequence) generating.end("stopped");
    for (const append of this.#appends.splice(0)) {
      if (append.sequence === sequence) append.reject(new Error("the sequence was freed"));
      else this.#appends.push(append);
    }
  }

  /** Resolves when the appends have ended, after the generations, which end before their next step. */
  async finish(): Promise<void> {
    for (const generating of this.#generating) void this.between(() => generating.end("stopped"));
    while (this.#running) await messages();
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    for (;;) {
      // Lets those who ask at the same time share a step.
      await messages();
      for (const work of this.#between.splice(0)) await work();
      const ready = [...this.#generating].filter(({ allowed }) => allowed > 0);
      const append = this.#appends.shift();
      if (ready.length === 0 && append === undefined && this.#between.length === 0) break;
      if (ready.length > 0) await this.#step(ready);
      if (append !== undefined) await this.#chunk(append);
    }
    this.#running = false;
  }

  /**
   * One step of several generations. When it can't be run, each generation is run alone, so that only the faulty one
   * fails; once it has run, what becomes of one generation is no other's.
   */
  async #step(batch: readonly Generating<S>[]): Promise<void> {
    const chosen = batch.flatMap((generating) => {
      const { sequence, request } = generating;
      try {
        return [{ generating, sequence, tokenIds: [choose(sequence, request.sampling, sequence.position)] }];
      } catch (error) {
        generating.fail(error);
        return [];
      }
    });
    if (chosen.length === 0) return;
    let ran: Ran;
    try {
      this.speculation?.draft(chosen.map((run) => ({ ...run, most: this.#mostTokens(run.generating) })));
      const wanted = chosen.some(({ tokenIds }) => tokenIds.length > 1) ? "all" : "last";
      const startedAt = performance.now();
      ran = await this.backend.run(chosen, wanted);
      this.speculation?.timed(chosen, performance.now() - startedAt);
    } catch (error) {
      if (chosen.length > 1) for (const { generating } of chosen) await this.#step([generating]);
      else chosen[0]?.generating.fail(error);
      return;
    }
    const added: { generating: Generating<S>; tokenIds: number[]; kept: number }[] = [];
    for (const [i, { generating, sequence, tokenIds }] of chosen.entries()) {
      try {
        const kept = keptOf(ran, i, sequence.position, tokenIds, generating.request);
        await ran.commit(i, kept);
        this.speculation?.settle(sequence, tokenIds, kept);
        added.push({ generating, tokenIds, kept });
      } catch (error) {
        generating.fail(error);
      }
    }
    // At once, so that what a step added to all of them is one message to the thread that serves their readers.
    for (const { generating, tokenIds, kept } of added) {
      try {
        told(generating, tokenIds, kept);
      } catch (error) {
        generating.fail(error);
      }
    }
  }

  /** A chunk ends with the block, and with the last token that is asked for. */
  #mostTokens({ sequence, left, request }: Generating<S>): number {
    if (request.oneByOne) return 1;
    return chunkLength(this.backend.geometry, sequence.position, left);
  }

  async #chunk(append: Append<S>): Promise<void> {
    const { sequence, rest } = append;
    try {
      const take = chunkLength(this.backend.geometry, sequence.position, rest.length);
      const isLast = take === rest.length;
      const run = { sequence, tokenIds: rest.subarray(0, take) };
      const ran = await this.backend.run([run], isLast ? append.logits : "none");
      await ran.commit(0, take);
      this.speculation?.read(sequence, run.tokenIds);
      if (isLast) append.resolve();
      else this.#appends.push({ ...append, rest: rest.subarray(take) });
    } catch (error) {
      append.reject(error);
    }
  }
}

/** How many of the tokens belong to the history: the first, and the guesses after it until one is wrong. */
function keptOf(ran: Ran, i: number, position: number, tokenIds: number[], request: GenerateRequest): number {
  let kept = 1;
  while (kept < tokenIds.length && !request.eosTokenIds.includes(tokenIds[kept - 1] ?? -1)) {
    const after = { logits: ran.logits(i, kept - 1), best: ran.best(i, kept - 1) };
    if (tokenIds[kept] !== choose(after, request.sampling, position + kept)) break;
    kept++;
  }
  return kept;
}

/** Reports what a step added, and ends the generation after its last token. */
function told<S extends Sequence>(generating: Generating<S>, ran: number[], kept: number): void {
  const tokenIds = ran.slice(0, kept);
  generating.allowed -= 1;
  generating.left -= kept;
  generating.onStep({ tokenIds, drafted: ran.length - 1, state: generating.sequence.state });
  if (generating.request.eosTokenIds.includes(tokenIds.at(-1) ?? -1)) generating.end("eos");
  else if (generating.left === 0) generating.end("max-tokens");
}

/** Lets messages arrive. */
function messages(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
