import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { bench } from "../../src/bench/bench.ts";
import { benchOptions } from "../../src/bench/options.ts";
import { exit } from "../../src/cli/exit.ts";
import { readReport } from "../../src/report/report-file.ts";
import { eventually } from "../eventually.ts";
import { kakeya } from "../program.ts";
import { scratchDir } from "../scratch.ts";

setDefaultTimeout(60_000);

function options(folder: string, flags: Parameters<typeof benchOptions>[0]) {
  const short = { "turn-spacing": "0", "warm-up": "1", output: join(folder, "deep/run.json") };
  return benchOptions({ ...short, ...flags }, kakeya, 0);
}

test("a bench answers with the report that it wrote, and with what the model said last", async () => {
  using scratch = scratchDir();
  const { exitCode, lastAnswer, report } = await bench(options(scratch.path, { turns: "6", window: "128" }));
  expect(exitCode).toBe(exit.done);
  expect(report.world.window).toBe(128);
  expect(lastAnswer).toStartWith("We discussed how");
  expect(await readReport(join(scratch.path, "deep/run.json"))).toEqual(report);
});

test("a signal ends the run in order, with its name in the report", async () => {
  using scratch = scratchDir();
  const running = bench(options(scratch.path, { "turn-spacing": "0.1" }));
  await eventually("a checkpoint", () => existsSync(join(scratch.path, "deep/run.json.partial")) || undefined);
  process.kill(process.pid, "SIGHUP");
  const { exitCode, report } = await running;
  expect(exitCode).toBe(exit.interrupted);
  expect(report).toMatchObject({ partial: true, abort_reason: "SIGHUP" });
});

test("a report that can't be written at the end leaves the last checkpoint, and the error names it", async () => {
  using scratch = scratchDir();
  const output = join(scratch.path, "deep/run.json");
  const running = bench(options(scratch.path, { turns: "20", "turn-spacing": "0.1" }));
  await eventually("a checkpoint", () => existsSync(`${output}.partial`) || undefined);
  // Something in the report's place that no rename replaces.
  await Bun.$`mkdir ${output} && touch ${output}/occupied`;
  const error: unknown = await running.catch((caught) => caught);
  expect(String(error)).toContain(`there is no report; ${output}.partial holds what was saved last. `);
  expect(String(error)).toContain(`${output}: is a folder`);
  expect((await readReport(`${output}.partial`)).partial).toBe(true);
});

test.each([
  [{ address: "127.0.0.1:1" }, "no kakeya server answers at 127.0.0.1:1: "],
  [{ model: "/no/such/model" }, "the server ended with code 1 before it was ready; its log, "],
  [{ quant: "q9" }, "UsageError: "],
  [{ workload: "/no/such/workload" }, "WorkloadError: can't read the workload /no/such/workload"],
  [{ tokenizer: "/no/such/tokenizer" }, "ModelError: /no/such/tokenizer"],
])("a bench with %j does not begin, and leaves no report", async (flags, message) => {
  using scratch = scratchDir();
  const error: unknown = await bench(options(scratch.path, flags)).catch((caught) => caught);
  expect(String(error)).toContain(message);
  expect(existsSync(join(scratch.path, "deep/run.json.partial"))).toBe(false);
});
