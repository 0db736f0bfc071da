import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { adapterEnvironment, onAdapter } from "../devices/some-adapter.ts";
import { scratchDir } from "../scratch.ts";

const main = join(import.meta.dir, "../../src/main.ts");

/** Runs kakeya with nothing in its environment but `env`. */
async function kakeya(args: readonly string[], env: Record<string, string>) {
  const child = Bun.spawn([process.execPath, main, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, stdout, stderr };
}

const noDriver = (home: string) => ({
  HOME: home,
  VK_DRIVER_FILES: "/nowhere.json",
  VK_ICD_FILENAMES: "/nowhere.json",
});

test.if(process.platform === "linux")("without a GPU, devices lists the processor and says what to do", async () => {
  using home = scratchDir();
  const { code, stdout, stderr } = await kakeya(["devices"], noDriver(home.path));
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[1]).toMatch(/^cpu {5}\S.*, \d+ cores {2}/);
  expect(stderr).toMatch(/^no GPU can be used: .+ use --device cpu\n$/);

  const listed = JSON.parse((await kakeya(["devices", "--json"], noDriver(home.path))).stdout);
  expect(listed).toMatchObject({ cpu: { cores: expect.any(Number) }, gpus: [], gpu_problem: expect.any(String) });
  expect(listed.cpu.instruction_sets[0]).toBe(process.arch);
});

test.if(process.platform === "linux")("without a GPU, serve --device gpu says so and does not start", async () => {
  using home = scratchDir();
  const serve = ["serve", "--device", "gpu", "--bind", "127.0.0.1:0", "--http", "off", "--json"];
  const { code, stdout, stderr } = await kakeya(serve, noDriver(home.path));
  expect(code).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^kakeya: --device gpu: .+: .*use --device cpu\n$/);
});

test.if(process.platform === "linux")("nor does a bench's own server, and the bench says why", async () => {
  using home = scratchDir();
  const output = join(home.path, "run.json");
  const args = ["bench", "--device", "gpu", "--turns", "1", "--output", output];
  const { code, stderr } = await kakeya(args, noDriver(home.path));
  expect(code).toBe(1);
  expect(stderr).toContain("kakeya: --device gpu: ");
  expect(readdirSync(home.path)).not.toContain("run.json");
});

describe.skipIf(adapterEnvironment === undefined)(onAdapter, () => {
  test("devices lists it as usable, with its driver", async () => {
    using home = scratchDir();
    const env = { ...adapterEnvironment, HOME: home.path };
    const { gpus, gpu_problem } = JSON.parse((await kakeya(["devices", "--json"], env)).stdout);
    expect(gpu_problem).toBeNull();
    expect(gpus[0]).toMatchObject({ usable: true, problem: null, driver: expect.stringMatching(/\S/) });
    const { stdout, stderr } = await kakeya(["devices"], env);
    expect(stdout).toMatch(/^gpu .* yes/m);
    expect(stderr).toBe("");
  });

  test("its driver writes nothing outside the cache folder", async () => {
    using home = scratchDir();
    const env = {
      ...adapterEnvironment,
      HOME: home.path,
      KAKEYA_CACHE_DIR: join(home.path, "cache"),
      TMPDIR: home.path,
    };
    await kakeya(["devices"], env);
    expect(readdirSync(home.path).filter((name) => name !== ".bun")).toEqual(["cache"]);
  });
});
