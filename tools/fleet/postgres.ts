/** A PostgreSQL of Debian's, with a cluster of its own in a folder of its own. */

import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { SQL } from "bun";
import { atExit } from "./at-exit.ts";
import { freePorts, untilExit } from "./processes.ts";

const versions = "/usr/lib/postgresql";
const ballastName = "ballast";

export interface PostgresOptions {
  /** A folder that is this cluster's alone. */
  folder: string;
  /** Bytes of the disk for its tables; absent: no disk of its own. Its log of writes (WAL) is elsewhere. */
  diskBytes?: number;
}

export class Postgres {
  #process: Bun.Subprocess | undefined;
  #unmounted: (() => void) | undefined;

  private constructor(
    private readonly options: PostgresOptions,
    private readonly port: number,
  ) {}

  /** @throws Error when PostgreSQL is not installed, or its disk can't be made */
  static async start(options: PostgresOptions): Promise<Postgres> {
    const { folder, diskBytes } = options;
    const [port = 0] = await freePorts(1);
    const postgres = new Postgres(options, port);
    mkdirSync(join(folder, "data"), { recursive: true });
    if (diskBytes !== undefined) {
      run(["mount", "-t", "tmpfs", "-o", `size=${diskBytes}`, "tmpfs", postgres.#disk]);
      postgres.#unmounted = atExit(() => run(["umount", "--lazy", postgres.#disk]));
    }
    try {
      chmodSync(folder, 0o711);
      for (const path of [folder, postgres.#disk]) chownSync(path, ...postgres.#owner);
      const trusting = ["-U", "kakeya", "-A", "trust"];
      run(postgres.#asOwner(["initdb", "-D", postgres.#cluster, "-X", join(folder, "wal"), ...trusting]));
      await postgres.startAgain();
      await using sql = new SQL(`${postgres.#base}/postgres`);
      await sql.unsafe("CREATE DATABASE fleet");
      return postgres;
    } catch (error) {
      await postgres.end();
      throw error;
    }
  }

  get url(): string {
    return `${this.#base}/fleet`;
  }

  /** Resolves when it answers. */
  async startAgain(): Promise<void> {
    const log = openSync(join(this.options.folder, "postgres.log"), "a");
    const settings = [
      "-c",
      "listen_addresses=127.0.0.1",
      "-c",
      "unix_socket_directories=",
      "-c",
      "max_connections=200",
    ];
    const command = ["postgres", "-D", this.#cluster, "-p", String(this.port), ...settings];
    this.#process = untilExit(Bun.spawn(this.#asOwner(command), { stdout: log, stderr: log }));
    closeSync(log);
    for (;;) {
      if (this.#process.exitCode !== null) throw new Error(`PostgreSQL ended; see ${this.options.folder}/postgres.log`);
      try {
        await using sql = new SQL(`${this.#base}/postgres`);
        await sql`SELECT 1`;
        return;
      } catch {
        await Bun.sleep(100);
      }
    }
  }

  /** Ends its connections and stops ("fast"). */
  async stop(): Promise<void> {
    this.#process?.kill("SIGINT");
    await this.#process?.exited;
  }

  /** What a query gives, as plain rows. */
  async rows(query: string): Promise<Record<string, unknown>[]> {
    await using sql = new SQL(this.url);
    return await sql.unsafe(query);
  }

  /** Takes all that is left of the disk of its tables, while the database writes to it, too. */
  fillDisk(): void {
    const ballast = openSync(join(this.#disk, ballastName), "a");
    try {
      for (;;) writeSync(ballast, new Uint8Array(4096));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    } finally {
      closeSync(ballast);
    }
  }

  freeDisk(): void {
    rmSync(join(this.#disk, ballastName), { force: true });
  }

  async end(): Promise<void> {
    await this.stop();
    if (this.#unmounted === undefined) return;
    run(["umount", "--lazy", this.#disk]);
    this.#unmounted();
  }

  /** Where its tables are. */
  get #disk(): string {
    return join(this.options.folder, "data");
  }

  get #cluster(): string {
    return join(this.#disk, "cluster");
  }

  get #base(): string {
    return `postgres://kakeya@127.0.0.1:${this.port}`;
  }

  /** Postgres refuses to run as root. */
  get #owner(): [number, number] {
    const id = (flag: string) => Number(spawnSync("id", [flag, "postgres"], { encoding: "utf8" }).stdout);
    return process.getuid?.() === 0 ? [id("-u"), id("-g")] : [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  }

  #asOwner([name = "", ...args]: string[]): string[] {
    const [uid, gid] = this.#owner;
    const command = [join(versions, newestVersion(), "bin", name), ...args];
    return process.getuid?.() === 0
      ? ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", ...command]
      : command;
  }
}

function newestVersion(): string {
  const newest = readdirSync(versions).toSorted((a, b) => Number(b) - Number(a))[0];
  if (newest === undefined) throw new Error("PostgreSQL is not installed: apt-get install postgresql");
  return newest;
}

function run([command = "", ...args]: string[]): void {
  const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8", cwd: "/" });
  if (status !== 0) throw new Error(`${command} ${args[0]}: ${error?.message ?? stderr.trim()}`);
}
