import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { optionWords, shellLine } from "../../src/cli/shell.ts";
import { shell, start, startServer } from "../bench/processes.ts";
import { eventually } from "../eventually.ts";
import { scratchDir } from "../scratch.ts";

setDefaultTimeout(60_000);

/** The line that print-cmd prints. */
async function line(args: readonly string[], cwd: string): Promise<string> {
  await using printed = start(["print-cmd", ...args], cwd);
  expect(await printed.exited).toBe(0);
  return (await printed.stdout).trimEnd();
}

test("a shell reads back any words that a line is made of", () => {
  const word = fc.string({ unit: "binary", maxLength: 8 }).filter((text) => !text.includes("\0"));
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (words) => {
      const { stdout } = Bun.spawnSync(["sh", "-c", `printf '%s\\0' ${shellLine(words)} end`]);
      expect(stdout.toString().split("\0")).toEqual([...words, "end", ""]);
    }),
    { numRuns: 40 },
  );
});

test("options without a value are left out, and a value that looks like an option is tied to its own", () => {
  const definition = { name: { type: "string" }, strict: { type: "boolean" }, other: { type: "string" } } as const;
  expect(optionWords(definition, { name: "-x", strict: true })).toEqual(["--name=-x", "--strict"]);
});

test("every option is spelled out, with the command's own defaults", async () => {
  using scratch = scratchDir();
  expect(await line(["bench"], scratch.path)).toContain(
    " bench --duration 14400 --turn-spacing 30 --sessions 1 --template raw ",
  );
  expect(await line(["smoke"], scratch.path)).toContain(" smoke --duration 30m ");
  expect(await line(["serve", "--window", "256"], scratch.path)).toContain(
    " serve --quant q8 --device auto --kv f32 --sink 4 --window 256 --draft auto --bind 127.0.0.1:50051 --capacity 4 --state-lease 10s --state-wait 10s --sync normal ",
  );
});

test('sh -c "$(kakeya print-cmd serve)" serves', async () => {
  using scratch = scratchDir();
  const serve = await line(["serve", "--bind", "127.0.0.1:0"], scratch.path);
  const child = Bun.spawn(["sh", "-c", `exec ${serve}`], { stdout: "pipe", stderr: "ignore", stdin: "ignore" });
  try {
    const said = new TextDecoder().decode((await child.stdout.getReader().read()).value);
    expect(said).toMatch(/^kakeya serves kakeya-tiny q8 at 127\.0\.0\.1:\d+ \| /);
  } finally {
    child.kill();
    await child.exited;
  }
});

test('sh -c "$(kakeya print-cmd bench)" benches the server of another terminal', async () => {
  using scratch = scratchDir();
  await using server = await startServer("127.0.0.1:0", scratch.path);
  const output = join(scratch.path, "it's a report.json");
  const args = [
    "--address",
    server.address,
    "--turns",
    "3",
    "--turn-spacing",
    "0",
    "--warm-up",
    "0",
    "--output",
    output,
  ];
  await using bench = shell(await line(["bench", ...args], scratch.path), scratch.path);
  expect(await bench.exited).toBe(0);
  expect(readdirSync(scratch.path)).toEqual(["it's a report.json"]);
});

test('sh -c "$(kakeya print-cmd smoke)" smokes', async () => {
  using scratch = scratchDir();
  await using smoke = shell(await line(["smoke", "--duration", "1", "--warm-up", "0"], scratch.path), scratch.path);
  await eventually("its report", async () =>
    (await smoke.stdout).includes("report: results/smoke-") ? true : undefined,
  );
  expect(await smoke.exited).not.toBe(2);
});

test("refuses what the command itself would refuse", async () => {
  using scratch = scratchDir();
  for (const args of [
    ["serve", "--no-such-flag"],
    ["serve", "--window", "abc"],
    ["serve", "--tls-cert", "x.pem"],
    ["serve", "--max-request-bytes", "much"],
    ["bench", "--duration", "soon"],
    ["smoke", "--warm-up", "-1"],
    ["smoke", "--quant", "q5"],
    ["serve", "--device", "tpu"],
    ["bench", "--device", "tpu"],
    ["nothing"],
    ["srve"],
  ]) {
    await using printed = start(["print-cmd", ...args], scratch.path);
    expect(await printed.exited).toBe(2);
    expect(await printed.stdout).toBe("");
  }
});
