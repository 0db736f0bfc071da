/**
 * How long a session's history is, as far as the calls of one Session object tell. A call that says where it continues
 * can be made again without doing anything twice.
 */
export class Position {
  #tokens: number | undefined;
  #underWay = 0;

  constructor(tokens?: number) {
    this.#tokens = tokens;
  }

  /** A call begins that makes the history longer. */
  begin(): Place {
    const at = this.tokens;
    this.#underWay++;
    return {
      at,
      end: (tokens) => {
        this.#underWay--;
        this.learn(tokens);
      },
    };
  }

  /** Undefined while a call is under way, and after one that did not end as usual. */
  get tokens(): number | undefined {
    return this.#underWay === 0 ? this.#tokens : undefined;
  }

  /** The history's length; undefined: not known any more. */
  learn(tokens: number | undefined): void {
    this.#tokens = this.#underWay === 0 ? tokens : undefined;
  }
}

export interface Place {
  /** Tokens before the call; undefined: not known. */
  at: number | undefined;
  end(tokens: number | undefined): void;
}
