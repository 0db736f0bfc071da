import { readyAddress } from "../../src/host/ready.ts";
import { kakeya } from "../program.ts";

export interface Started extends AsyncDisposable {
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Its exit code, once it has ended; 128 + n when signal n ended it. */
  readonly exited: Promise<number>;
  /** All of stdout, once it has ended. */
  readonly stdout: Promise<string>;
  /** All of stderr, once it has ended. */
  readonly stderr: Promise<string>;
}

/** Runs a command of kakeya in `cwd`; what is left of it is killed at the end of the block. */
export function start(args: readonly string[], cwd: string, env: Record<string, string> = {}): Started {
  return started([...kakeya, ...args], cwd, env);
}

/** Any command line, by `sh -c`. */
export function shell(line: string, cwd: string): Started {
  return started(["sh", "-c", line], cwd);
}

function started(command: string[], cwd: string, env: Record<string, string> = {}): Started {
  const child = Bun.spawn(command, {
    cwd,
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  return {
    pid: child.pid,
    kill: (signal) => child.kill(signal),
    exited: child.exited,
    stdout: new Response(child.stdout).text(),
    stderr: new Response(child.stderr).text(),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

export interface StartedServer extends AsyncDisposable {
  readonly address: string;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<number>;
}

/** `kakeya serve`, when it is ready. */
export async function startServer(bind: string, cwd: string, flags: readonly string[] = []): Promise<StartedServer> {
  const child = Bun.spawn([...kakeya, "serve", "--bind", bind, "--http", "off", "--json", ...flags], {
    cwd,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const address = await readyAddress(child.stdout);
  if (address === undefined) throw new Error(`kakeya serve --bind ${bind} did not say that it is ready`);
  return {
    address,
    kill: (signal) => child.kill(signal),
    exited: child.exited,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
