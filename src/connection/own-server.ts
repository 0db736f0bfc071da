/** The server that a command starts for itself: the same executable, on a free port, stopped with the command. */

import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { exit, UsageError } from "../cli/exit.ts";
import { readyAddress } from "../host/ready.ts";

export interface OwnServerOptions {
  /** The executable and what comes before its subcommand. */
  kakeya: readonly string[];
  /** Flags of `serve`. */
  flags: readonly string[];
  /** The file that the server's log is added to. */
  logPath: string;
}

/** The server ended before it was ready; the message holds the end of its log. */
export class ServerFailed extends Error {
  override name = "ServerFailed";
}

const stopGraceS = 15;

export class OwnServer implements AsyncDisposable {
  private constructor(
    readonly address: string,
    private readonly options: OwnServerOptions,
    private child: ServerProcess,
  ) {}

  get pid(): number {
    return this.child.pid;
  }

  /**
   * Resolves when the server says that it answers; the first start of a large model can take minutes.
   * @throws ServerFailed, or UsageError when the server refused its flags
   */
  static async start(options: OwnServerOptions): Promise<OwnServer> {
    const { address, child } = await started(options, "127.0.0.1:0");
    return new OwnServer(address, options, child);
  }

  /** Starts it again after it was killed, at the same address. @throws ServerFailed */
  async startAgain(): Promise<void> {
    this.child = (await started(this.options, this.address)).child;
  }

  /** Stops it with SIGTERM, and by force when that takes too long. */
  async stop(): Promise<void> {
    this.child.kill();
    const force = setTimeout(() => this.child.kill("SIGKILL"), stopGraceS * 1000);
    await this.child.exited;
    clearTimeout(force);
  }

  /** Ends it as a crash would, without any warning to it. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

type ServerProcess = ReturnType<typeof spawn>;

async function started(
  { kakeya, flags, logPath }: OwnServerOptions,
  bind: string,
): Promise<{ address: string; child: ServerProcess }> {
  const stderr = openLog(logPath);
  const logStart = fstatSync(stderr).size;
  const child = spawn(
    [...kakeya, "serve", "--bind", bind, "--http", "off", "--json", "--stop-with-stdin", ...flags],
    stderr,
  );
  closeSync(stderr);
  const address = await readyAddress(child.stdout);
  if (address !== undefined) return { address, child };
  const code = await child.exited;
  const said = tail(logPath, logStart);
  // Its flags came from our command line: an error in them is an error in ours.
  if (code === exit.usage) throw new UsageError(said.replace(/^kakeya: |\nsee kakeya serve --help$/g, ""));
  throw new ServerFailed(`the server ended with code ${code} before it was ready; its log, ${logPath}:\n${said}`);
}

/**
 * The pipe on its standard input closes when this process ends, however it ends, and tells the server to stop.
 * It leads a process group of its own: Ctrl-C reaches the command alone, which stops it in its own time.
 */
function spawn(command: string[], stderr: number) {
  return Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr, detached: true });
}

/** @throws Error that names the log */
function openLog(path: string): number {
  try {
    return openSync(path, "a");
  } catch (cause) {
    throw new Error(`can't write ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** The last lines of a log, of those that begin at byte `from`. */
function tail(path: string, from: number): string {
  const lines = readFileSync(path).subarray(from).toString().trimEnd().split("\n");
  return lines.slice(-10).join("\n");
}
