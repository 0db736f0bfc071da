import type { Backend, Sequence } from "./backend.ts";
import { Drafter } from "./drafts/drafter.ts";
import type {
  Engine,
  EngineInfo,
  GenerateRequest,
  Generation,
  SavedSequence,
  SequenceId,
  SequenceState,
  Step,
} from "./engine.ts";
import { Scheduler } from "./scheduler.ts";
import { type Guesser, Speculation } from "./speculation.ts";

/** The engine inside its worker: names the sequences, and checks what is asked of them. */
export class EngineCore<S extends Sequence> implements Engine {
  /** Never aborts: a fault here is an error of a call, or ends the thread. */
  readonly crashed = new AbortController().signal;
  readonly #sequences = new Map<SequenceId, S>();
  readonly #scheduler: Scheduler<S>;
  #nextId = 1;

  constructor(
    private readonly backend: Backend<S>,
    readonly info: EngineInfo,
    newGuesser: () => Guesser = () => new Drafter(),
  ) {
    this.#scheduler = new Scheduler(backend, info.draftLimit > 0 ? new Speculation(backend, newGuesser) : undefined);
  }

  create(): Promise<SequenceId> {
    return this.#scheduler.between(() => this.#named(this.backend.create()));
  }

  free(id: SequenceId): Promise<void> {
    return this.#scheduler.between(() => {
      const sequence = this.#sequence(id);
      this.#scheduler.forget(sequence);
      this.#sequences.delete(id);
      this.backend.free(sequence);
    });
  }

  async append(id: SequenceId, tokenIds: Uint32Array, logits: "last" | "none" = "last"): Promise<SequenceState> {
    const sequence = this.#sequence(id);
    if (tokenIds.length === 0) throw new RangeError("there are no tokens to append");
    const outside = tokenIds.find((token) => token >= this.backend.vocabSize);
    if (outside !== undefined) {
      throw new RangeError(`token id ${outside} is outside the vocabulary of ${this.backend.vocabSize} tokens`);
    }
    await this.#scheduler.append(sequence, tokenIds, logits);
    return sequence.state;
  }

  generate(id: SequenceId, request: GenerateRequest, onStep: (step: Step) => void): Generation {
    const sequence = this.#sequence(id);
    if (sequence.best < 0) throw new RangeError(`sequence ${id} holds no token to continue from`);
    return this.#scheduler.generate(sequence, request, onStep);
  }

  state(id: SequenceId): Promise<SequenceState> {
    return this.#scheduler.between(() => this.backend.recount(this.#sequence(id)));
  }

  save(id: SequenceId): Promise<SavedSequence> {
    return this.#scheduler.between(() => this.backend.save(this.#sequence(id)));
  }

  load(saved: SavedSequence): Promise<SequenceId> {
    return this.#scheduler.between(async () => this.#named(await this.backend.load(saved)));
  }

  fork(id: SequenceId): Promise<SequenceId> {
    return this.#scheduler.between(async () => {
      const saved = await this.backend.save(this.#sequence(id));
      return this.#named(await this.backend.load(saved));
    });
  }

  corrupt(id: SequenceId): Promise<void> {
    return this.#scheduler.between(() => this.backend.corrupt(this.#sequence(id)));
  }

  /** The last logits of a sequence, [vocab]; valid until its next token. */
  logits(id: SequenceId): Float32Array {
    return this.#sequence(id).logits;
  }

  async close(): Promise<void> {
    await this.#scheduler.finish();
    await this.backend.close();
  }

  #named(sequence: S): SequenceId {
    const id = this.#nextId++;
    this.#sequences.set(id, sequence);
    return id;
  }

  #sequence(id: SequenceId): S {
    const sequence = this.#sequences.get(id);
    if (!sequence) throw new RangeError(`there is no sequence ${id}`);
    return sequence;
  }
}
