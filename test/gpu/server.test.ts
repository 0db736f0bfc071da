import { describe, expect, test } from "bun:test";
import { Client, Unavailable } from "../../src/client/index.ts";
import { hasCompiler, losingLayer } from "../devices/losing-layer.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { serveIn } from "../serve/serve-process.ts";
import { asked, onGpu } from "./device.ts";

/** A server on a GPU that the processor stands in for takes minutes to start. */
const limitMs = 15 * 60_000;

describe.skipIf(!asked || !hasCompiler)(`${onGpu}, whose driver can be made to lose it`, () => {
  test(
    "a GPU that is lost in mid-step: calls get UNAVAILABLE and 503, and the server ends in order, saying why",
    async () => {
      using scratch = scratchDir();
      const layer = losingLayer(scratch.path);
      await using server = await serveIn(layer.environment, "--device", "gpu", "--http", "127.0.0.1:0");
      expect(server.ready).toMatchObject({ device: "gpu", adapter: expect.stringContaining("Vulkan") });
      using client = new Client(server.address, { retryS: 0 });
      expect(await client.runtimeInfo()).toMatchObject({ device: "gpu", adapter: server.ready.adapter });

      const session = await client.createSession();
      await session.append([1, 2, 3]);
      const ids = session.generate({ maxTokens: 10_000 })[Symbol.asyncIterator]();
      expect((await ids.next()).done).toBe(false);
      const asked = fetch(`${server.ready.http_url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "kakeya-tiny", messages: [{ role: "user", content: "hello" }] }),
      });
      layer.lose();

      const rest = async () => {
        while (!(await ids.next()).done);
      };
      const failure = await rejection(rest());
      expect(failure).toBeInstanceOf(Unavailable);
      expect(failure.message).toContain("the GPU failed in a step");
      const answer = await asked;
      expect(answer.status).toBe(503);
      expect(JSON.stringify(await answer.json())).toContain("the GPU failed in a step");

      expect(await server.process.exited).toBe(1);
      expect(await server.stderr()).toMatch(/^kakeya: the GPU failed in a step .*--device cpu/m);
    },
    limitMs,
  );
});
