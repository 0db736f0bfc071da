/** A way to Postgres that breaks when a test says so: before a statement arrives, or after it was done and before anybody heard of it. */

import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Cut = "before" | "after" | "silent";

export class CuttingProxy implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), "kakeya-proxy-"));
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cuts: Cut[] = [];
  /** How many connections were cut. */
  cuts = 0;

  /** @param cutAt what a message has in it that may be cut: by default the ids of steps, which are base64 in JSON */
  constructor(
    private readonly socket: string,
    private readonly cutAt = '"ids":"',
  ) {
    this.#server = createServer((client) => this.#join(client));
  }

  /** The address of a database on the other side of this. */
  url(database: string): string {
    return `postgres://kakeya@localhost/${database}?host=${this.dir}`;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(join(this.dir, ".s.PGSQL.5432"), resolve));
    return this;
  }

  /** What happens to the next messages that may be cut, one after the other. */
  cut(...cuts: Cut[]): void {
    this.#cuts.push(...cuts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.dir, { recursive: true, force: true });
  }

  #join(client: Socket): void {
    const database = createConnection(this.socket);
    for (const socket of [client, database]) {
      this.#sockets.add(socket);
      socket.on("error", () => {}); // It closes, too.
      socket.on("close", () => this.#sockets.delete(socket));
    }
    let isCut = false;
    const hangUp = () => {
      client.destroy();
      database.destroy();
    };
    client.on("data", (data) => {
      const cut = data.includes(this.cutAt) ? this.#cuts.shift() : undefined;
      if (cut !== undefined) this.cuts++;
      if (cut === "before") return hangUp();
      database.write(data);
      if (cut === undefined) return;
      isCut = true;
      // Its answer is what shows that the statement was done.
      if (cut === "after") database.once("data", hangUp);
    });
    database.on("data", (data) => {
      if (!isCut) client.write(data);
    });
    client.on("close", () => database.destroy());
    database.on("close", () => client.destroy());
  }
}
