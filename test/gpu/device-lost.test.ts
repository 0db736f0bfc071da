import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { hasCompiler, losingLayer } from "../devices/losing-layer.ts";
import { scratchDir } from "../scratch.ts";
import { asked, onGpu } from "./device.ts";

describe.skipIf(!asked || !hasCompiler)(`${onGpu}, whose driver can be made to lose it`, () => {
  test("a device that is lost in mid-step fails all calls in flight and later ones; the process lives", async () => {
    using scratch = scratchDir();
    const layer = losingLayer(scratch.path);
    const program = join(import.meta.dir, "open-and-lose.ts");
    const child = Bun.spawn([process.execPath, program], {
      env: { ...process.env, ...layer.environment },
      stderr: "ignore",
    });
    const said = JSON.parse(await new Response(child.stdout).text());
    expect(await child.exited).toBe(0);
    expect(layer.isLost()).toBe(true);
    const failed = expect.stringMatching(/^DeviceFailed: the GPU failed in a step .*lost.*: start again/);
    expect(said).toEqual({ outcomes: [failed, failed], later: failed, crashed: true });
  }, 600_000);
});
