import { SessionError } from "./errors.ts";

/** Those who have the places. */
export interface Occupants {
  readonly count: number;
  readonly capacity: number;
  /** Whether one of them may leave now. */
  readonly canGiveWay: boolean;
  /** Whether one of them will be able to, without anybody's help. */
  readonly willGiveWay: boolean;
  /** Makes one leave that may; false when none may. */
  giveWay(): boolean;
  /** Why none gives way, in words. */
  noRoom(): SessionError;
}

/** The engine's places: who gets one, who waits for one, and in which order they change hands. */
export class Places {
  /** Places that were given and are not occupied yet. */
  #opening = 0;
  /** Calls that wait for a place, in order. */
  readonly #waiting: (() => void)[] = [];
  #work: Promise<unknown> = Promise.resolve();
  #ending = false;

  constructor(
    private readonly occupants: Occupants,
    private readonly maxWaiting: number,
  ) {}

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether a newcomer would have one without waiting. */
  get canMakeRoom(): boolean {
    return this.#hasRoom || this.occupants.canGiveWay;
  }

  /**
   * Does `open` with a place that nobody else takes.
   * @param waits for an occupant that will give way
   * @throws SessionError resource-exhausted
   */
  async inNew<T>(open: () => Promise<T>, waits: boolean): Promise<T> {
    await this.#take(waits);
    try {
      return await open();
    } catch (error) {
      this.mayBeFree();
      throw error;
    } finally {
      this.#opening--;
    }
  }

  /** Places are taken and freed one after the other, so that a freed one is there for whoever waits for it. */
  inOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#work.then(work);
    this.#work = result.catch(() => {});
    return result;
  }

  /** An occupant has left, or may leave: who waits the longest looks again. */
  mayBeFree(): void {
    this.#waiting.shift()?.();
  }

  /** All who wait look again. */
  look(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** From now on nobody waits. */
  end(): void {
    this.#ending = true;
    this.look();
  }

  get #hasRoom(): boolean {
    return this.occupants.count + this.#opening < this.occupants.capacity;
  }

  async #take(waits: boolean): Promise<void> {
    while (!this.#hasRoom) {
      if (this.occupants.giveWay()) continue;
      if (!waits || !(this.#opening > 0 || this.occupants.willGiveWay)) {
        // Then there is no room either for those who wait after it.
        this.mayBeFree();
        throw this.occupants.noRoom();
      }
      await this.#wait();
    }
    this.#opening++;
  }

  async #wait(): Promise<void> {
    const waiting = this.#waiting.length;
    if (this.#ending || waiting >= this.maxWaiting) {
      const why = this.#ending ? "the server is shutting down" : `${waiting} others wait for a place; try again later`;
      const busy = `all ${this.occupants.capacity} sessions in memory have a call in flight`;
      throw new SessionError("resource-exhausted", `${busy}, and ${why}`);
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
