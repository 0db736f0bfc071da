/** The processes of a fleet on this machine: servers of kakeya, and a proxy with the configuration of docs/ops/fleet. */

import { once } from "node:events";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { Client } from "../../src/client/index.ts";
import { readyAddress } from "../../src/host/ready.ts";
import { atExit } from "./at-exit.ts";

const docs = resolve(import.meta.dir, "../../docs/ops/fleet");
const kakeya = [process.execPath, resolve(import.meta.dir, "../../src/main.ts")];

export const proxyKinds = ["haproxy", "nginx"] as const;
export type ProxyKind = (typeof proxyKinds)[number];

/** Ports that are free now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  return servers.map((server) => {
    const address = server.address();
    server.close();
    if (address === null || typeof address === "string") throw new Error("a TCP server without a port");
    return address.port;
  });
}

function spawn(command: readonly string[], logPath: string, endedBy: NodeJS.Signals = "SIGKILL") {
  const log = openSync(logPath, "a");
  try {
    return untilExit(Bun.spawn([...command], { stdin: "pipe", stdout: "pipe", stderr: log }), endedBy);
  } finally {
    closeSync(log);
  }
}

/** Ends the process with this one. */
export function untilExit<T extends { exited: Promise<number>; kill(signal: NodeJS.Signals): void }>(
  child: T,
  endedBy: NodeJS.Signals = "SIGKILL",
): T {
  const ended = atExit(() => child.kill(endedBy));
  void child.exited.then(ended);
  return child;
}

type Process = ReturnType<typeof spawn>;

export class FleetServer {
  #process: Process | undefined;

  constructor(
    readonly name: string,
    readonly grpcPort: number,
    readonly httpPort: number,
    private readonly flags: readonly string[],
    readonly logPath: string,
  ) {}

  get address(): string {
    return `127.0.0.1:${this.grpcPort}`;
  }

  get #running(): Process {
    if (this.#process === undefined) throw new Error(`${this.name} was not started`);
    return this.#process;
  }

  /** Resolves when it answers. @throws Error with the end of its log */
  async start(): Promise<void> {
    const doors = ["--bind", this.address, "--http", `127.0.0.1:${this.httpPort}`];
    const words = ["serve", ...doors, "--json", "--stop-with-stdin", "--log-level", "debug", "--log-format", "json"];
    this.#process = spawn([...kakeya, ...words, ...this.flags], this.logPath);
    if ((await readyAddress(this.#process.stdout)) !== undefined) return;
    await this.#process.exited;
    throw new Error(`${this.name} did not start: ${readFileSync(this.logPath, "utf8").slice(-2000)}`);
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#running.kill(signal);
  }

  async kill(): Promise<void> {
    this.#running.kill("SIGKILL");
    await this.#running.exited;
  }

  /** By SIGTERM. @throws Error when it ended with another code than 0 */
  async stop(): Promise<void> {
    this.#running.kill("SIGTERM");
    const code = await this.#running.exited;
    if (code !== 0) throw new Error(`${this.name} ended with code ${code} after SIGTERM; see ${this.logPath}`);
  }

  /** However it stands. */
  async end(): Promise<void> {
    this.#process?.kill("SIGCONT");
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
  }
}

export class FrontProxy {
  #process: Process | undefined;

  private constructor(
    private readonly command: readonly string[],
    private readonly logPath: string,
    readonly address: string,
    readonly httpUrl: string,
  ) {}

  /** @param folder of its own */
  static async start(kind: ProxyKind, servers: readonly FleetServer[], folder: string): Promise<FrontProxy> {
    const [grpcPort = 0, httpPort = 0] = await freePorts(2);
    const name = { haproxy: "haproxy.cfg", nginx: "nginx.conf" }[kind];
    const path = join(folder, name);
    writeFileSync(path, withPorts(readFileSync(join(docs, name), "utf8"), [grpcPort, httpPort], servers));
    const inFolder = ["-p", folder, "-e", "stderr", "-g", `daemon off; pid ${join(folder, "nginx.pid")};`];
    const command = { haproxy: ["haproxy", "-db", "-f", path], nginx: ["nginx", "-c", path, ...inFolder] }[kind];
    const proxy = new FrontProxy(
      command,
      join(folder, `${kind}.log`),
      `127.0.0.1:${grpcPort}`,
      `http://127.0.0.1:${httpPort}`,
    );
    await proxy.startAgain();
    return proxy;
  }

  /** Resolves when it leads to a server. */
  async startAgain(): Promise<void> {
    // nginx takes its workers along.
    this.#process = spawn(this.command, this.logPath, "SIGTERM");
    const deadline = performance.now() + 20_000;
    for (;;) {
      using client = new Client(this.address, { retryS: 0 });
      try {
        await client.runtimeInfo({ signal: AbortSignal.timeout(2000) });
        return;
      } catch (cause) {
        if (performance.now() > deadline || this.#process.exitCode !== null) {
          const said = readFileSync(this.logPath, "utf8").slice(-2000);
          throw new Error(`${this.command[0]} does not lead to a server: ${said}`, { cause });
        }
        await Bun.sleep(100);
      }
    }
  }

  async kill(): Promise<void> {
    // Its workers end when they notice; a quick shutdown takes them along.
    this.#process?.kill("SIGTERM");
    await this.#process?.exited;
  }
}

/** The configuration as it stands, but for its ports. */
function withPorts(text: string, [grpc = 0, http = 0]: readonly number[], servers: readonly FleetServer[]): string {
  const ports: [number, number][] = [
    [50050, grpc],
    [8050, http],
    ...servers.flatMap((server, i): [number, number][] => [
      [50051 + i, server.grpcPort],
      [8051 + i, server.httpPort],
    ]),
  ];
  const ours = new Map(ports.map(([theirs, own]) => [String(theirs), String(own)]));
  return text
    .split("\n")
    .map((line) =>
      line.trim().startsWith("#") ? line : line.replace(/\b(5005[0-3]|805[0-3])\b/g, (port) => ours.get(port) ?? port),
    )
    .join("\n");
}
