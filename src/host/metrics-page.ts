import type { Registry } from "prom-client";
import type { Connections } from "./connections.ts";
import { startWebServer } from "./web-server.ts";

export interface MetricsPage {
  readonly url: string;
  close(): Promise<void>;
}

export interface Measured {
  metrics: { registry: Registry };
  connections: Connections;
}

/** Serves GET /metrics on loopback, for Prometheus. @throws Error when the port is taken. */
export async function serveMetrics({ metrics, connections }: Measured, port: number): Promise<MetricsPage> {
  const { registry } = metrics;
  const server = await startWebServer({
    bind: { kind: "tcp", host: "127.0.0.1", port },
    tls: undefined,
    connections,
    async answer({ request }) {
      const isPage = request.method === "GET" && new URL(request.url).pathname === "/metrics";
      if (!isPage) return new Response("GET /metrics\n", { status: 404 });
      return new Response(await registry.metrics(), { headers: { "content-type": registry.contentType } });
    },
  }).catch((error: Error) => {
    throw new Error(`--metrics-port ${port}: ${error.message}`);
  });
  return { url: `http://127.0.0.1:${server.port}/metrics`, close: () => server.stop() };
}
