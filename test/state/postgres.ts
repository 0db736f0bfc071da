/** A real Postgres for tests, where its programs are installed: its own folder, its own socket, no port. */

import { describe } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL, type Subprocess } from "bun";
import { postgresPrograms } from "./postgres-programs.ts";

const bin = postgresPrograms;

if (bin === undefined) console.log("no postgres programs here: what needs them is skipped");

/** `describe` where Postgres is installed; else its tests are skipped. */
export const describeWithPostgres = describe.skipIf(bin === undefined);

export const hasPostgres = bin !== undefined;

/** A cluster of its own. Dispose it, and nothing is left. */
export class Postgres implements AsyncDisposable {
  #server: Subprocess | undefined;
  #databases = 0;

  private constructor(
    readonly dir: string,
    private readonly settings: readonly string[],
  ) {}

  /** @param settings such as "max_connections=10" */
  static start(...settings: string[]): Promise<Postgres> {
    return Postgres.startIn(mkdtempSync(join(tmpdir(), "kakeya-pg-")), ...settings);
  }

  /** @param dir an empty folder, which goes with the cluster */
  static async startIn(dir: string, ...settings: string[]): Promise<Postgres> {
    const chown = process.getuid?.() === 0 ? ["chown", "65534:65534", dir] : ["true"];
    await run(chown);
    await run([
      ...unprivileged(),
      program("initdb"),
      "-D",
      join(dir, "data"),
      "-U",
      "kakeya",
      "-A",
      "trust",
      "-E",
      "UTF8",
      "--locale=C",
      "--no-sync",
    ]);
    const postgres = new Postgres(dir, settings);
    await postgres.start();
    return postgres;
  }

  /** The socket's address of a database. */
  url(database = "postgres"): string {
    return `postgres://kakeya@localhost/${database}?host=${this.dir}`;
  }

  get socket(): string {
    return join(this.dir, ".s.PGSQL.5432");
  }

  /** An empty database. */
  async database(): Promise<string> {
    const name = `d${++this.#databases}`;
    await this.query(`CREATE DATABASE ${name}`);
    return this.url(name);
  }

  async query(text: string, database?: string): Promise<Record<string, unknown>[]> {
    const sql = new SQL({
      adapter: "postgres",
      path: this.socket,
      username: "kakeya",
      database: database ?? "postgres",
      max: 1,
    });
    try {
      return Array.from((await sql.unsafe(text)) as Iterable<Record<string, unknown>>);
    } finally {
      await sql.close({ timeout: 0 });
    }
  }

  async start(): Promise<void> {
    // A killed one leaves its file, and for a moment its children.
    rmSync(join(this.dir, "data", "postmaster.pid"), { force: true });
    const options = ["listen_addresses=", `unix_socket_directories=${this.dir}`, ...this.settings];
    this.#server = Bun.spawn(
      [
        ...unprivileged(),
        program("postgres"),
        "-D",
        join(this.dir, "data"),
        ...options.flatMap((option) => ["-c", option]),
      ],
      { stdout: "ignore", stderr: Bun.file(join(this.dir, "log")) },
    );
    while (
      !(await this.query("SELECT 1").then(
        () => true,
        () => false,
      ))
    ) {
      if (this.#server.exitCode !== null) throw new Error(await Bun.file(join(this.dir, "log")).text());
      await Bun.sleep(50);
    }
  }

  /** Nothing is written any more; what was committed is there at the next start. */
  async kill(): Promise<void> {
    this.#server?.kill("SIGKILL");
    await this.#server?.exited;
    await this.#childrenGone();
  }

  async stop(): Promise<void> {
    this.#server?.kill("SIGINT");
    await this.#server?.exited;
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** A new postmaster would be refused the memory that they still share. */
  async #childrenGone(): Promise<void> {
    const data = realpathSync(join(this.dir, "data"));
    const uses = (pid: string) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === data;
      } catch {
        return false; // It has ended, or is another user's.
      }
    };
    while (existsSync("/proc/self") && readdirSync("/proc").some(uses)) await Bun.sleep(20);
  }
}

function program(name: string): string {
  if (bin === undefined) throw new Error("no postgres programs here");
  return join(bin, name);
}

/** Postgres refuses to run as root. */
function unprivileged(): string[] {
  return process.getuid?.() === 0
    ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL"]
    : [];
}

async function run(command: string[]): Promise<void> {
  const { exited, stderr } = Bun.spawn(command, { stdout: "ignore", stderr: "pipe", cwd: "/" });
  if ((await exited) !== 0) throw new Error(`${command.join(" ")}: ${await new Response(stderr).text()}`);
}
