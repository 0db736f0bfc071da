import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readReport } from "../../src/report/report-file.ts";
import { smallDisk, whyNoSmallDisk } from "../files/small-disk.ts";
import { kakeya } from "../program.ts";
import { scratchDir } from "../scratch.ts";
import { start } from "./processes.ts";

setDefaultTimeout(60_000);

/** A run of one turn. */
const short = ["--turns", "1", "--turn-spacing", "0", "--warm-up", "0"];

/** What is in the way, made in the folder; the arguments; what the bench says. */
const refusals: Record<string, [(folder: string) => unknown, string[], string]> = {
  "a folder": [(folder) => mkdirSync(join(folder, "out")), ["--output", "out"], "out: is a folder"],
  "a file that is no report": [
    (folder) => writeFileSync(join(folder, "notes.json"), '{"my": "notes"}'),
    ["--output", "notes.json"],
    "notes.json: already exists, and kakeya did not write it",
  ],
  "a checkpoint that is no report": [
    (folder) => writeFileSync(join(folder, "run.json.partial"), "mine"),
    ["--output", "run.json"],
    "run.json.partial: already exists, and kakeya did not write it",
  ],
  "a FIFO in the checkpoint's place": [
    (folder) => spawnSync("mkfifo", [join(folder, "run.json.partial")]),
    ["--output", "run.json"],
    "run.json.partial: is no regular file",
  ],
  "a folder in the log's place": [
    (folder) => mkdirSync(join(folder, "run.server.log")),
    ["--output", "run.json"],
    "run.server.log: is a folder",
  ],
  "a file in the folder's place": [
    (folder) => writeFileSync(join(folder, "file"), "mine"),
    ["--output", "file/run.json"],
    "file/run.json: can't be written (ENOTDIR",
  ],
  "the workload, by a link and by force": [
    (folder) => {
      writeFileSync(join(folder, "talk.txt"), "What is a slab?\n");
      symlinkSync("talk.txt", join(folder, "run.json"));
    },
    ["--output", "run.json", "--workload", "talk.txt", "--force"],
    "run.json: is also an input",
  ],
};

describe("bench refuses with code 2, before it starts a server, an output over", () => {
  test.each(Object.entries(refusals))("%s", async (_, [make, args, message]) => {
    using scratch = scratchDir();
    make(scratch.path);
    const before = contentsOf(scratch.path);
    await using bench = start(["bench", ...short, ...args], scratch.path);
    expect(await bench.exited).toBe(2);
    expect(await bench.stderr).toStartWith(`kakeya: ${message}`);
    expect(contentsOf(scratch.path)).toEqual(before);
  });
});

function contentsOf(folder: string) {
  return readdirSync(folder, { withFileTypes: true }).map((entry) => [
    entry.name,
    entry.isFile() ? readFileSync(join(folder, entry.name), "utf8") : undefined,
  ]);
}

test("a report of ours, and any file by force, is replaced; the log is added to", async () => {
  using scratch = scratchDir();
  const output = join(scratch.path, "run.json");
  writeFileSync(output, "my notes");
  writeFileSync(join(scratch.path, "run.server.log"), "before\n");
  for (const force of [["--force"], []]) {
    await using bench = start(["bench", ...short, "--output", output, ...force], scratch.path);
    expect(await bench.exited).toBe(0);
    expect((await readReport(output)).turns).toHaveLength(1);
  }
  expect(readFileSync(join(scratch.path, "run.server.log"), "utf8")).toMatch(/^before\n.+session created/s);
});

test("with --output - the report is all of the standard output, and the summary a message", async () => {
  using scratch = scratchDir();
  await using bench = start(["bench", ...short, "--output", "-"], scratch.path);
  expect(JSON.parse(await bench.stdout)).toMatchObject({ kind: "bench_session_long_run", agg: { n_turns: 1 } });
  expect(await bench.stderr).toContain("last answer: ");
  expect(readdirSync(scratch.path)).toEqual([expect.stringMatching(/^bench-\d+\.server\.log$/)]);
});

test("a workload of - is the standard input", async () => {
  using scratch = scratchDir();
  writeFileSync(join(scratch.path, "talk.txt"), "What is a slab?\nWhat is a sink?\n");
  const line = `"$@" bench ${short.join(" ")} --workload - --output run.json < talk.txt`;
  const child = Bun.spawn(["sh", "-c", line, "sh", ...kakeya], {
    cwd: scratch.path,
    stdout: "ignore",
    stderr: "ignore",
  });
  expect(await child.exited).toBe(0);
  expect(await readReport(join(scratch.path, "run.json"))).toMatchObject({
    config: { workload: "-", workload_messages: 2 },
  });
});

const reason = whyNoSmallDisk();
describe.skipIf(reason !== undefined)(`on a read-only disk${reason ? ` (skipped: ${reason})` : ""}`, () => {
  test("bench names the report, with code 2 where the path was chosen and 1 where not", async () => {
    using disk = smallDisk(1 << 16);
    disk.remount("ro");
    for (const [args, code, name] of [
      [["--output", "run.json"], 2, "run\\.json"],
      [[], 1, "bench-\\d+\\.json"],
    ] as const) {
      await using bench = start(["bench", ...short, ...args], disk.path);
      expect(await bench.exited).toBe(code);
      expect(await bench.stderr).toMatch(new RegExp(`^kakeya: ${name}: can't be written \\(EROFS`));
    }
  });

  test("smoke names its report when results/ can't be made", async () => {
    using disk = smallDisk(1 << 16);
    disk.remount("ro");
    await using smoke = start(["smoke", "--duration", "1"], disk.path);
    expect(await smoke.exited).toBe(1);
    expect(await smoke.stderr).toMatch(
      /^kakeya: results\/smoke-\d+\.json: can't be written \(EROFS: read-only file system\). /,
    );
    expect(existsSync(join(disk.path, "results"))).toBe(false);
  });
});

test("a log that can't be opened is named, and not the executable", async () => {
  using scratch = scratchDir();
  const { OwnServer } = await import("../../src/connection/own-server.ts");
  const logPath = join(scratch.path, "no/server.log");
  const error: unknown = await OwnServer.start({ kakeya: ["true"], flags: [], logPath }).catch((caught) => caught);
  expect(String(error)).toStartWith(`Error: can't write ${logPath}: ENOENT`);
});
