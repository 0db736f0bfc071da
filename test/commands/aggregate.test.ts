import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import { recompute } from "../../src/report/recompute.ts";
import { type AggV2, type GateName, gateNames, type ReportV2, type TurnV2 } from "../../src/report/report.ts";
import { readReport } from "../../src/report/report-file.ts";
import { kakeya } from "../program.ts";
import { ownTokens, reportOf, reprefilled, slowed, steady, withFailure, withTurn, world } from "../report/series.ts";
import { writeReport } from "../report/write-report.ts";

const realFile = resolve(import.meta.dir, "../report/data/bench_session_4h_1780332893.json");
let folder: string;
let good: string;
let control: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kakeya-aggregate-"));
  good = written("good.json", steady(60));
  control = written("control.json", reprefilled(40));
});
afterAll(() => rmSync(folder, { recursive: true }));

function written(name: string, turns: TurnV2[], change: Partial<ReportV2> = {}): string {
  const path = join(folder, name);
  const report = reportOf(turns, { agg: aggregateV2([], 0), gates: judge(turns, { world, rotation: 6 }) });
  writeReport(path, { ...report, agg: aggregateV2(turns, report.duration_s), ...change });
  return path;
}

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

function aggregate(...args: string[]): Promise<Ended> {
  return aggregateOf("/dev/null", ...args);
}

/** With a file as its standard input. */
async function aggregateOf(stdin: string, ...args: string[]): Promise<Ended> {
  const child = Bun.spawn([...kakeya, "aggregate", ...args], {
    cwd: folder,
    stdin: Bun.file(stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, stdout, stderr };
}

describe("exit code", () => {
  test("0 for a run that proves what it should, with nothing on stderr", async () => {
    expect(await aggregate(good)).toMatchObject({ code: 0, stderr: "" });
  });

  test("3 for the negative control, also among good runs", async () => {
    expect((await aggregate(control)).code).toBe(3);
    expect((await aggregate(good, control)).code).toBe(3);
  });

  test("3 for one fault under any gate, and the table says which", async () => {
    const faults: Record<GateName, TurnV2[]> = {
      memory: withTurn(steady(60), 9, { kv_live_bytes: 68 * 3072 + 1 }),
      work: withTurn(steady(60), 9, { computed_token_total: 10 * ownTokens + 1 }),
      latency: slowed(steady(60), (share) => 1 + 0.12 * share),
      invariants: withTurn(steady(60), 9, { inv2: 1 }),
      errors: withFailure(steady(60), 9),
    };
    for (const name of gateNames) {
      const { code, stdout } = await aggregate(written(`${name}.json`, faults[name]));
      expect(code).toBe(3);
      expect(stdout.match(/^FAIL +(\w+):/gm)).toEqual([expect.stringMatching(new RegExp(`${name}:$`))]);
    }
  });

  test("3 for a report whose own figures are not those of its turns, strict or not, and it says so first", async () => {
    const { agg } = await readReport(good);
    if (!agg) throw new Error("the report has no figures");
    const tampered = written("tampered.json", steady(60), { agg: { ...agg, p95_latency_s: 0.5 } as AggV2 });
    for (const flags of [[], ["--strict"]]) {
      const { code, stdout } = await aggregate(good, tampered, ...flags);
      expect(code).toBe(3);
      expect(stdout.split("\n")[0]).toBe(
        `CONTRADICTORY  ${tampered}: its own figures are not those of its turns, in 1 place, agg.p95_latency_s`,
      );
    }
    const asJson = await aggregate(tampered, "--json");
    expect(asJson.code).toBe(3);
    expect(asJson.stderr).toStartWith(`CONTRADICTORY  ${tampered}: `);
    expect(JSON.parse(asJson.stdout).reports[0].differences).toHaveLength(1);
    const { stdout: page } = await aggregate(tampered, "--html", "-");
    expect(page).toContain("</h1>\n<p><strong>CONTRADICTORY ");
  });

  test("3 for a verdict that was changed by hand, though every gate passes", async () => {
    const { gates } = recompute("good", await readReport(good));
    const forged = { ...gates, errors: { ...gates.errors, verdict: "inconclusive" as const } };
    const { code, stdout } = await aggregate(written("forged.json", steady(60), { gates: forged }));
    expect(code).toBe(3);
    expect(stdout.split("\n")[0]).toEndWith("in 1 place, gates.errors.verdict");
  });

  test("4 for a file whose bytes were never counted", async () => {
    const { code, stdout } = await aggregate(realFile);
    expect(code).toBe(4);
    expect(stdout).toContain("the file's own figures are the same to the last digit");
  });

  test("0 for a run too short for its clock, and 4 when strict", async () => {
    const short = written("short.json", steady(12));
    expect(await aggregate(short)).toMatchObject({ code: 0 });
    expect(await aggregate(short, "--strict")).toMatchObject({ code: 4 });
  });

  test("1 for a file that can't be read, named with its field", async () => {
    expect(await aggregate("none.json")).toMatchObject({ code: 1, stdout: "" });
    await Bun.write(
      join(folder, "broken.json"),
      '{"schema_version":1,"kind":"bench_session_long_run","turns":[{"ok":true}]}',
    );
    const { code, stderr } = await aggregate("broken.json");
    expect(code).toBe(1);
    expect(stderr).toContain("broken.json: /turns/0/t_relative_s is missing");
  });

  test("2 when there is no report to be found, or an option is unknown", async () => {
    expect(await aggregate()).toMatchObject({ code: 2, stdout: "" });
    expect(await aggregate(good, "--nope")).toMatchObject({ code: 2, stdout: "" });
  });
});

test("--json prints the figures of every file, and nothing else", async () => {
  const { code, stdout } = await aggregate("--json", good, realFile);
  expect(code).toBe(4);
  const { reports } = JSON.parse(stdout);
  expect(reports).toHaveLength(2);
  expect(reports[1].agg).toEqual((await readReport(realFile)).agg);
});

test("two runs on the same files give the same bytes, page and all", async () => {
  const run = async () => {
    const { stdout } = await aggregate(good, realFile, "--html", "page.html");
    return { stdout, page: await Bun.file(join(folder, "page.html")).text() };
  };
  const first = await run();
  expect(await run()).toEqual(first);
  expect(first.page).toStartWith("<!doctype html>");
});

test("without a file it takes the latest report in results/", async () => {
  const inner = join(folder, "elsewhere");
  await Bun.write(join(inner, "results/latest.json"), Bun.file(good));
  const child = Bun.spawn([...kakeya, "aggregate"], { cwd: inner, stdout: "pipe", stderr: "pipe" });
  expect(await new Response(child.stderr).text()).toContain("results/latest.json");
  expect(await child.exited).toBe(0);
});

test("a partial file is accepted, and says how it ended", async () => {
  const partial = written("half.json.partial", steady(30), { partial: true, abort_reason: "SIGINT" });
  const { code, stdout } = await aggregate(partial);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ended +early: SIGINT$/m);
});

describe("- is", () => {
  test("a report on the standard input, named once", async () => {
    const [byName, byStdin] = [await aggregate("--json", good), await aggregateOf(good, "--json", "-")];
    expect(byStdin.code).toBe(0);
    expect(byStdin.stdout).toBe(byName.stdout.replace(JSON.stringify(good), '"-"'));
    expect(await aggregateOf(good, "-", "-")).toMatchObject({ code: 2, stdout: "" });
  });

  test("a page on the standard output; then the table is a message", async () => {
    const { code, stdout, stderr } = await aggregate(good, "--html", "-");
    expect(code).toBe(0);
    expect(stdout).toStartWith("<!doctype html>");
    expect(stdout).toEndWith("</html>\n");
    expect(stderr).toContain("PASS          memory: ");
    expect((await aggregate(good, "--html", "/dev/stdout")).stdout).toBe(stdout);
  });
});

describe("--html is refused with code 2 before anything is read or printed, and the file stays", () => {
  async function refused(path: string, why: string, ...inputs: string[]): Promise<void> {
    const before = [readFileSync(join(folder, path), "utf8"), statSync(join(folder, path)).ino];
    const { code, stdout, stderr } = await aggregate("--html", path, ...inputs);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toStartWith(`kakeya: ${path}: ${why}`);
    expect([readFileSync(join(folder, path), "utf8"), statSync(join(folder, path)).ino]).toEqual(before);
  }

  test("over one of the reports, by any of its names", async () => {
    writeFileSync(join(folder, "in.json"), readFileSync(good));
    symlinkSync("in.json", join(folder, "in-link.json"));
    linkSync(join(folder, "in.json"), join(folder, "in-other-name.json"));
    for (const name of ["in.json", "in-link.json", "in-other-name.json"]) {
      await refused(name, "is also an input", good, "in.json", "--force");
    }
    const { code, stderr } = await aggregateOf(join(folder, "in.json"), "-", "--html", "in.json", "--force");
    expect(code).toBe(2);
    expect(stderr).toContain("is also an input");
    expect(readFileSync(join(folder, "in.json"))).toEqual(readFileSync(good));
  });

  test("over a file that is not one of kakeya's pages, a report included", async () => {
    writeFileSync(join(folder, "notes.html"), "<!doctype html><title>my notes</title>");
    await refused("notes.html", "already exists, and kakeya did not write it", good);
    writeFileSync(join(folder, "other-report.json"), readFileSync(good));
    await refused("other-report.json", "already exists, and kakeya did not write it", good);
    expect((await aggregate(good, "--html", "notes.html", "--force")).code).toBe(0);
    expect((await aggregate(good, "--html", "notes.html")).code).toBe(0);
    expect(readFileSync(join(folder, "notes.html"), "utf8")).toContain("<title>kakeya bench");
    writeFileSync(
      join(folder, "notes.html"),
      "<!doctype html>\n<head>\n<title>kakeya bench: of an earlier version</title>",
    );
    expect((await aggregate(good, "--html", "notes.html")).code).toBe(0);
  });

  test("over a folder", async () => {
    mkdirSync(join(folder, "a-folder"));
    const { code, stdout, stderr } = await aggregate(good, "--html", "a-folder");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("a-folder: is a folder");
  });
});

test("a page that its device can't take is an error after the table", async () => {
  const { code, stdout, stderr } = await aggregate(good, "--html", "/dev/full");
  expect(code).toBe(1);
  expect(stdout).toContain("PASS          memory: ");
  expect(stderr).toStartWith("kakeya: can't write /dev/full: ENOSPC");
});
