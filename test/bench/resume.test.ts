import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { exit } from "../../src/cli/exit.ts";
import type { ReportV2 } from "../../src/report/report.ts";
import { readReport } from "../../src/report/report-file.ts";
import { eventually } from "../eventually.ts";
import { kakeya } from "../program.ts";
import { scratchDir } from "../scratch.ts";

function bench(cwd: string, ...flags: string[]) {
  const command = [...kakeya, "bench", "--turn-spacing", "0", "--warm-up", "0", "--max-tokens", "16"];
  return Bun.spawn([...command, ...flags], { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

async function reportAt(path: string): Promise<ReportV2 | undefined> {
  if (!existsSync(path)) return undefined;
  const report = await readReport(path);
  return report.schema_version === 2 ? report : undefined;
}

test("a bench that was killed goes on in the same session, and its gates judge across the gap", async () => {
  using scratch = scratchDir();
  const partial = join(scratch.path, "run.json.partial");
  const state = ["--state", join(scratch.path, "state")];
  const first = bench(
    scratch.path,
    ...state,
    "--output",
    "run.json",
    "--turns",
    "100000",
    "--checkpoint-every",
    "50ms",
  );
  await eventually("a checkpoint with some turns", async () => {
    const turns = (await reportAt(partial))?.turns.length ?? 0;
    return turns > 5 ? turns : undefined;
  });
  first.kill("SIGKILL");
  await first.exited;
  const left = await reportAt(partial);
  const before = left?.turns.length ?? 0;
  expect(left?.resume?.sessions_opened).toBe(1);

  // The server of the killed bench stops by itself; until then it holds the folder.
  let second: ReturnType<typeof bench>;
  let said: string;
  do {
    second = bench(scratch.path, ...state, "--resume", "run.json.partial", "--turns", String(before + 5));
    said = await new Response(second.stderr).text();
  } while ((await second.exited) === exit.failure && said.includes("is in use by"));
  expect<number[]>([exit.done], said).toContain(await second.exited);

  const report = await reportAt(join(scratch.path, "run.json"));
  expect(report?.turns).toHaveLength(before + 5);
  expect(report?.turns.slice(0, before)).toEqual(left?.turns ?? []);
  expect(report?.turns.map((turn) => "resumed" in turn).indexOf(true)).toBe(before);
  expect(report?.turns.every((turn) => turn.ok && turn.session_index === 0)).toBe(true);
  expect(report?.started_at).toBe(left?.started_at ?? 0);
  expect(report?.resume).toBeUndefined();
  for (const gate of ["memory", "work", "invariants", "errors"] as const) {
    expect(report?.gates[gate].verdict, report?.gates[gate].reason).toBe("pass");
  }
  expect(existsSync(partial)).toBe(false);
});

test("what is no run to resume is refused, and so is another run's option", async () => {
  using scratch = scratchDir();
  const run = bench(scratch.path, "--turns", "1", "--output", "run.json");
  expect(await run.exited).not.toBe(exit.failure);
  const ended = bench(scratch.path, "--resume", "run.json", "--output", "other.json", "--turns", "2");
  expect(await new Response(ended.stderr).text()).toContain("that run came to its end; there is nothing to resume");
  expect(await ended.exited).toBe(exit.usage);

  const report = await reportAt(join(scratch.path, "run.json"));
  await Bun.write(join(scratch.path, "cut.json.partial"), JSON.stringify({ ...report, partial: true }));
  const other = bench(scratch.path, "--resume", "cut.json.partial", "--turns", "2", "--max-tokens", "8");
  expect(await new Response(other.stderr).text()).toContain(
    "the run to resume has --max-tokens 16, not 8: give the same",
  );
  expect(await other.exited).toBe(exit.usage);

  const onGpu = { ...report, partial: true, world: { ...report?.world, device: "gpu" } };
  await Bun.write(join(scratch.path, "gpu.json.partial"), JSON.stringify(onGpu));
  const onCpu = bench(scratch.path, "--resume", "gpu.json.partial", "--turns", "2");
  expect(await new Response(onCpu.stderr).text()).toContain(
    "the run to resume measured the gpu, not the cpu: give the same --device",
  );
  expect(await onCpu.exited).toBe(exit.usage);
});
