import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, type ClientOptions } from "../../src/client/index.ts";
import type { Engine, EngineOptions } from "../../src/engine/engine.ts";
import { openEngine } from "../../src/engine/open.ts";
import { createLog, type Log } from "../../src/host/log.ts";
import { defaultEngineOptions, type ServerOptions } from "../../src/host/options.ts";
import { type RunningServer, startServer } from "../../src/serve/server.ts";
import type { StateStore } from "../../src/state/store.ts";

const folder = mkdtempSync(join(tmpdir(), "kakeya-test-server-"));
process.env.KAKEYA_CACHE_DIR ??= join(folder, "cache");
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** A folder for sockets and certificates that goes when the tests do. */
export const testFolder = folder;

/** The embedded model, with the defaults of `serve` where the test says nothing. */
export function testEngine(options: Partial<EngineOptions> = {}): Promise<Engine> {
  return openEngine({ ...defaultEngineOptions, ...options });
}

export interface Serving extends AsyncDisposable {
  readonly engine: Engine;
  readonly server: RunningServer;
  readonly address: string;
  /** A connection of its own, closed with the server. */
  connect(options?: ClientOptions): Client;
  /** What the server has logged, a line each. */
  readonly logged: string[];
}

/** A real server on a free port, with a real engine: its own, or one that outlives it. */
export async function serving(
  options: Partial<ServerOptions> & { engine?: Engine; capacity?: number; state?: StateStore } = {},
): Promise<Serving> {
  const { engine: lent, capacity, state, ...serverOptions } = options;
  const engine = lent ?? (await testEngine(capacity === undefined ? {} : { capacity }));
  const logged: string[] = [];
  const server = await startServer(
    {
      engine,
      version: "0.0.0-test",
      commit: "c0ffee",
      log: collectingLog(logged),
      ...(state && { state: { store: state, rebuild: false } }),
    },
    // Tests leave their sessions behind for the next one to evict.
    { bind: "127.0.0.1:0", shutdownGraceS: 0, evictAfterS: 0, ...serverOptions },
  );
  const clients: Client[] = [];
  return {
    engine,
    server,
    address: server.address,
    logged,
    connect(clientOptions) {
      const client = new Client(server.address, { retryS: 0, ...clientOptions });
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await server.stop();
      if (lent === undefined) await engine.close();
    },
  };
}

function collectingLog(lines: string[]): Log {
  return createLog({ level: "debug", format: "text", write: (line) => lines.push(line), now: () => new Date(0) });
}
