/**
 * This server among those that use the database. All its sessions refer to its one row, whose expiry is renewed, so
 * that a million sessions don't mean a million renewals. A row that expired stays so: the server registers again under
 * another number, and whatever it held under the old one is void. So a process that was stopped for too long can't
 * write when it goes on, even if nobody has taken its sessions meanwhile.
 */

import type { Lease } from "../store.ts";
import type { Link, Query } from "./link.ts";

/** SQL: the server of a column is alive, by the database's clock. */
export function alive(server: string): string {
  return `EXISTS (SELECT FROM kakeya.servers v WHERE v.server = ${server} AND v.expires_at > clock_timestamp())`;
}

const renewalsPerLease = 5;
/** How often a server looks whether others want its sessions, in milliseconds. */
const lookEveryMs = 400;
/** Rows of dead servers are kept for whoever asks what happened. */
const forget = "DELETE FROM kakeya.servers WHERE expires_at < clock_timestamp() - interval '1 day'";

export class Membership {
  #server = 0;
  #wanted: readonly Lease[] = [];
  #renewedAtMs = 0;
  #next: Timer | undefined;
  #ended = false;

  private constructor(
    private readonly link: Link,
    private readonly options: { name: string; leaseS: number },
  ) {}

  static async begin(link: Link, options: { name: string; leaseS: number }): Promise<Membership> {
    const membership = new Membership(link, options);
    await link.run(async (query) => {
      await query(forget);
      await membership.#register(query);
    });
    membership.#schedule();
    return membership;
  }

  /** Its number now. */
  get server(): number {
    return this.#server;
  }

  /** This server's sessions that others have calls for. */
  get wanted(): readonly Lease[] {
    return this.#wanted;
  }

  /** Renews the lease; where it has run out, begins another one. */
  async renew(): Promise<void> {
    await this.link.run((query) => this.#renew(query));
  }

  /** The same, unless it was renewed not long ago. */
  async requireAlive(): Promise<void> {
    if (performance.now() - this.#renewedAtMs > this.options.leaseS * 500) await this.renew();
  }

  /** Gives everything back. */
  async end(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#next);
    await this.link.run((query) => query("DELETE FROM kakeya.servers WHERE server = $1", [this.#server]));
  }

  #schedule(): void {
    if (this.#ended) return;
    const everyMs = Math.min(lookEveryMs, (this.options.leaseS * 1000) / renewalsPerLease);
    this.#next = setTimeout(() => {
      void this.#look()
        .catch(() => {}) // The next look says whether the lease has run out meanwhile.
        .finally(() => this.#schedule());
    }, everyMs);
  }

  async #look(): Promise<void> {
    await this.link.run(async (query) => {
      const isDue = performance.now() - this.#renewedAtMs > (this.options.leaseS * 1000) / renewalsPerLease;
      const rows = await query(
        `SELECT ${alive("$1")} AS lives, s.id, s.epoch FROM (SELECT) one LEFT JOIN
           (kakeya.wanted w JOIN kakeya.sessions s ON s.key = w.session) ON w.owner = $1 AND s.owner = $1`,
        [this.#server],
      );
      const server = this.#server;
      this.#wanted = rows.flatMap(({ id, epoch }) =>
        id === null ? [] : [{ id: String(id), epoch: Number(epoch), server }],
      );
      if (isDue || rows[0]?.lives !== true) await this.#renew(query);
    });
  }

  async #renew(query: Query): Promise<void> {
    const at = performance.now();
    const renewed = await query(
      `UPDATE kakeya.servers SET expires_at = clock_timestamp() + $2 * interval '1 millisecond'
       WHERE server = $1 AND expires_at > clock_timestamp() RETURNING server`,
      [this.#server, Math.round(this.options.leaseS * 1000)],
    );
    if (renewed.length > 0) this.#renewedAtMs = at;
    else await this.#register(query);
  }

  async #register(query: Query): Promise<void> {
    const at = performance.now();
    const [row] = await query(
      `INSERT INTO kakeya.servers (name, expires_at)
       VALUES ($1, clock_timestamp() + $2 * interval '1 millisecond') RETURNING server`,
      [this.options.name, Math.round(this.options.leaseS * 1000)],
    );
    this.#server = Number(row?.server);
    this.#wanted = [];
    this.#renewedAtMs = at;
  }
}
