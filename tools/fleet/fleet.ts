import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atExit } from "./at-exit.ts";
import { Postgres } from "./postgres.ts";
import { FleetServer, FrontProxy, freePorts, type ProxyKind } from "./processes.ts";

export interface FleetOptions {
  proxy: ProxyKind;
  leaseS: number;
  capacity: number;
  /** Bytes of the disk of PostgreSQL's tables. */
  diskBytes?: number;
}

/** Three servers, a proxy before them, and a database that they share. */
export class Fleet implements AsyncDisposable {
  private constructor(
    readonly servers: readonly FleetServer[],
    readonly proxy: FrontProxy,
    readonly postgres: Postgres,
    private readonly folder: string,
  ) {}

  static async start({ proxy: kind, leaseS, capacity, diskBytes }: FleetOptions): Promise<Fleet> {
    const folder = mkdtempSync(join(tmpdir(), "kakeya-fleet-"));
    await using opened = new AsyncDisposableStack();
    const remove = () => rmSync(folder, { recursive: true, force: true });
    const removed = atExit(remove);
    opened.defer(() => {
      remove();
      removed();
    });
    const clusterFolder = join(folder, "postgres");
    // PostgreSQL runs as somebody else.
    chmodSync(folder, 0o711);
    mkdirSync(clusterFolder);
    const disk = diskBytes === undefined ? {} : { diskBytes };
    const postgres = await Postgres.start({ folder: clusterFolder, ...disk });
    opened.defer(() => postgres.end());
    const state = ["--state", postgres.url, "--state-lease", String(leaseS)];
    const ports = await freePorts(6);
    const servers: FleetServer[] = [];
    for (let i = 0; i < 3; i++) {
      const name = `server-${i + 1}`;
      const flags = [...state, "--server-name", name, "--capacity", String(capacity)];
      const server = new FleetServer(name, ports[i] ?? 0, ports[3 + i] ?? 0, flags, join(folder, `${name}.log`));
      opened.defer(() => server.end());
      await server.start();
      servers.push(server);
    }
    const proxy = await FrontProxy.start(kind, servers, folder);
    opened.defer(() => proxy.kill());
    const fleet = new Fleet(servers, proxy, postgres, folder);
    const parts = opened.move();
    fleet[Symbol.asyncDispose] = () => parts.disposeAsync();
    return fleet;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
