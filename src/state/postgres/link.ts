/** A way to the database that mends itself: whoever uses it waits while the database is away, up to a limit. */

import { SQL } from "bun";
import { StateError } from "../errors.ts";
import { connectionOptions, type PostgresAddress, shownUrl } from "./address.ts";
import { stateErrorFrom, troubleOf, unreachable } from "./trouble.ts";

export type Row = Record<string, unknown>;

/** Runs one statement. */
export type Query = (text: string, parameters?: readonly unknown[]) => Promise<Row[]>;

/** `repeated`: what was done before may have been committed, though nobody heard of it. */
export type Work<T> = (query: Query, repeated: boolean) => Promise<T>;

export interface LinkOptions extends PostgresAddress {
  /** How long a call waits for a database that is away, in seconds. */
  waitS: number;
  /** How long a statement may take before the connection counts as lost, in seconds. */
  answerS: number;
  /** How long a transaction may wait for its next statement: a stopped process holds no locks for longer. */
  idleInTransactionS: number;
}

const conflictsInARow = 10;

export class Link {
  #sql: SQL;
  /** Since when nothing has been answered, in milliseconds; undefined: the last statement was. */
  #awaySince: number | undefined;
  #closed = false;

  constructor(
    private readonly options: LinkOptions,
    private readonly connections: number,
  ) {
    this.#sql = this.#open();
  }

  get connected(): boolean {
    return this.#awaySince === undefined && !this.#closed;
  }

  /** As it is named in messages. */
  get shown(): string {
    return shownUrl(this.options.url);
  }

  /** Does `work`, whose statements are transactions of their own; again, if the connection was lost meanwhile. */
  run<T>(work: Work<T>): Promise<T> {
    return this.#persist((repeated) => {
      const sql = this.#sql;
      return work((text, parameters) => this.#timed(sql, sql, text, parameters), repeated);
    });
  }

  /** Does `work` in one transaction; again, if the connection was lost meanwhile. */
  transaction<T>(work: Work<T>, mode: "" | "isolation level repeatable read" = ""): Promise<T> {
    return this.#persist((repeated) => {
      const sql = this.#sql;
      return sql.begin(mode, (tx) => work((text, parameters) => this.#timed(sql, tx, text, parameters), repeated));
    });
  }

  /** Each statement by itself, again if the connection was lost meanwhile. */
  readonly each: Query = (text, parameters) => this.run((query) => query(text, parameters));

  async close(): Promise<void> {
    this.#closed = true;
    await this.#sql.close({ timeout: 0 });
  }

  async #persist<T>(attempt: (repeated: boolean) => Promise<T>): Promise<T> {
    let repeated = false;
    for (let tried = 1; ; tried++) {
      if (this.#closed) throw new StateError("unreachable", "the state is closed");
      try {
        const result = await attempt(repeated);
        this.#awaySince = undefined;
        return result;
      } catch (error) {
        const trouble = troubleOf(error);
        if (trouble === undefined) {
          this.#awaySince = undefined;
          throw stateErrorFrom(this.shown, error);
        }
        if (trouble === "conflict" && tried < conflictsInARow) continue;
        repeated = true;
        this.#awaySince ??= performance.now();
        const awayMs = performance.now() - this.#awaySince;
        if (this.#closed || awayMs >= this.options.waitS * 1000) throw unreachable(this.shown, error);
        await Bun.sleep(Math.min(50 * tried, 500));
      }
    }
  }

  /** A database that neither answers nor hangs up is given up, with all that waits for it: what it did is read back. */
  async #timed(of: SQL, by: SQL, text: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    const timer = setTimeout(() => this.#reset(of), this.options.answerS * 1000);
    try {
      return Array.from((await by.unsafe(text, [...parameters])) as Iterable<Row>);
    } finally {
      clearTimeout(timer);
    }
  }

  #reset(of: SQL): void {
    if (this.#sql !== of || this.#closed) return;
    this.#sql = this.#open();
    void of.close({ timeout: 0 }).catch(() => {});
  }

  #open(): SQL {
    const { answerS, idleInTransactionS } = this.options;
    return new SQL({
      ...connectionOptions(this.options),
      max: this.connections,
      idleTimeout: 0,
      maxLifetime: 0,
      connectionTimeout: Math.max(1, Math.ceil(answerS)),
      connection: {
        application_name: "kakeya",
        idle_in_transaction_session_timeout: `${Math.ceil(idleInTransactionS * 1000)}`,
      },
    });
  }
}
