import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { resolve } from "node:path";
import { eventually } from "../eventually.ts";

const main = resolve(import.meta.dir, "../../src/main.ts");
const bodyBytes = 4 * 2 ** 20;
/** Sixteen bodies of --max-request-bytes. */
const budgetBytes = 16 * bodyBytes;

test.skipIf(process.platform !== "linux")(
  "bodies that never end cost little more memory than may be held of them",
  async () => {
    const flags = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "error", "--json"];
    const server = Bun.spawn([process.execPath, main, "serve", ...flags], { stdout: "pipe" });
    try {
      const { value } = await server.stdout.getReader().read();
      const { http_url } = JSON.parse(new TextDecoder().decode(value));
      const port = Number(new URL(http_url).port);
      const before = mostResidentBytes(server.pid);
      const head = `POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${bodyBytes}\r\n\r\n`;
      const body = Buffer.alloc(bodyBytes - 1, 0x20);
      let refused = 0;
      const sockets = Array.from({ length: 100 }, () => {
        const socket = connect(port, "127.0.0.1").on("error", () => {});
        socket.once("data", (chunk) => {
          if (chunk.toString("latin1").startsWith("HTTP/1.1 503 ")) refused++;
        });
        socket.write(head);
        socket.write(body);
        return socket;
      });
      // Sixteen bodies that lack a byte fit; the others are refused, one after the other.
      await eventually("all but sixteen to be refused", () => (refused >= 84 ? true : undefined));
      const grewBytes = mostResidentBytes(server.pid) - before;
      for (const socket of sockets) socket.destroy();
      expect(grewBytes).toBeLessThan(budgetBytes + 128e6);
    } finally {
      server.kill();
      await server.exited;
    }
  },
);

function mostResidentBytes(pid: number): number {
  return 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}
