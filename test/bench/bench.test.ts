import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Report, ReportV2 } from "../../src/report/report.ts";
import { readReport } from "../../src/report/report-file.ts";
import { eventually } from "../eventually.ts";
import { smallDisk, whyNoSmallDisk } from "../files/small-disk.ts";
import { scratchDir } from "../scratch.ts";
import { isAlive, start, startServer } from "./processes.ts";

setDefaultTimeout(60_000);

/** Fast turns; a run that ends only when something ends it. */
const endless = ["--turn-spacing", "0.1", "--warm-up", "0", "--duration", "1h", "--checkpoint-every", "0.3"];

/** As many turns as asked for, as fast as they go. */
const short = ["--turn-spacing", "0", "--warm-up", "0"];

async function reportAt(path: string): Promise<ReportV2> {
  const report: Report = await readReport(path);
  if (report.schema_version !== 2) throw new Error(`${path} is of schema ${report.schema_version}`);
  return report;
}

/** A checkpoint that holds at least so many turns. */
function checkpointOf(path: string, turns: number): Promise<ReportV2> {
  return eventually(`${turns} turns in ${path}.partial`, async () => {
    if (!existsSync(`${path}.partial`)) return undefined;
    const report = await reportAt(`${path}.partial`);
    return report.turns.length >= turns ? report : undefined;
  });
}

/** The process of the server that a bench has started, from what it said. */
function ownServerPid(stderr: string): number {
  const pid = /started a server of its own .* \(pid (\d+),/.exec(stderr)?.[1];
  if (pid === undefined) throw new Error(`no server in: ${stderr}`);
  return Number(pid);
}

describe("kakeya bench", () => {
  test("--sessions talk at the same time, and each is counted by itself", async () => {
    using scratch = scratchDir();
    // Fewer turns than the latency gate judges: on a busy machine its verdict would be one on the machine.
    const args = [...short, "--sessions", "6", "--turns", "18", "--max-tokens", "8", "--output", "run.json"];
    await using bench = start(["bench", ...args], scratch.path);
    expect(await bench.exited).toBe(0);
    const { agg, config, gates, turns } = await reportAt(join(scratch.path, "run.json"));
    expect(turns).toHaveLength(18);
    expect(config.sessions).toBe(6);
    expect(agg.n_sessions).toBe(6);
    expect(new Set(turns.slice(0, 6).map(({ session_index }) => session_index)).size).toBe(6);
    expect(gates.work.verdict).toBe("pass");
    expect(agg.together?.emitted_per_s).toBeCloseTo(agg.n_emitted_total / (agg.duration_s ?? 0), 9);
    // A single server has no name.
    expect(agg.together?.n_servers).toBeNull();
  });

  test("starts a server of its own, says so, and leaves nothing but its report and the server's log", async () => {
    using scratch = scratchDir();
    const args = ["--turns", "6", "--turn-spacing", "0", "--warm-up", "2", "--output", "run.json"];
    await using bench = start(["bench", ...args], scratch.path);
    expect(await bench.exited).toBe(0);
    const report = await reportAt(join(scratch.path, "run.json"));
    expect(report).toMatchObject({
      partial: false,
      abort_reason: null,
      config: { own_server: true, turns_target: 6, warm_up_turns: 2 },
    });
    expect(report.turns).toHaveLength(6);
    expect(report.world).toMatchObject({
      model_id: "kakeya-tiny",
      sink: 4,
      window: 64,
      quantization: "q8",
      device: "cpu",
    });
    expect(report.world.command_line).toEqual(["kakeya", "bench", ...args]);
    expect(await bench.stdout).toContain("report: run.json");
    expect(await bench.stderr).toContain("\nwarming up: turns that nobody records, 2 of them or for 10 s\n");
    expect(isAlive(ownServerPid(await bench.stderr))).toBe(false);
    expect(readdirSync(scratch.path).sort()).toEqual(["run.json", "run.server.log"]);
  });

  test("warns of a window that its own server's model was not trained on", async () => {
    using scratch = scratchDir();
    await using bench = start(["bench", ...short, "--turns", "1", "--window", "512"], scratch.path);
    expect(await bench.stderr).toMatch(
      /^warning: --window 512 is outside of what the model was trained on, 16 to 256/m,
    );
    expect(await bench.exited).toBe(0);
  });

  test("prints its figures as JSON", async () => {
    using scratch = scratchDir();
    await using bench = start(["bench", ...short, "--turns", "2", "--json"], scratch.path);
    const summary: unknown = JSON.parse(await bench.stdout);
    expect(summary).toMatchObject({
      partial: false,
      last_answer: expect.any(String),
      agg: { n_turns: 2 },
      gates: { work: { verdict: "pass" } },
    });
  });

  test("with the negative control exits with 3: the work gate fails, which counts", async () => {
    using scratch = scratchDir();
    const args = ["--control", "reprefill", ...short, "--turns", "8", "--output", "run.json"];
    await using bench = start(["bench", ...args], scratch.path);
    expect(await bench.exited).toBe(3);
    const { gates } = await reportAt(join(scratch.path, "run.json"));
    expect(gates).toMatchObject({
      work: { verdict: "fail" },
      memory: { verdict: "pass" },
    });
  });

  test("walks a workload of its own with a chat template", async () => {
    using scratch = scratchDir();
    await Bun.write(join(scratch.path, "talk.jsonl"), '"What do sink tokens do?"\n{"message": "What is a slab?"}\n');
    const args = ["--workload", "talk.jsonl", "--template", "chatml", ...short, "--turns", "3"];
    await using bench = start(["bench", ...args, "--output", "run.json"], scratch.path);
    expect(await bench.exited).toBe(0);
    const { config, turns } = await reportAt(join(scratch.path, "run.json"));
    expect(config).toMatchObject({ workload: "talk.jsonl", workload_messages: 2, template: "chatml" });
    expect(turns.map((turn) => turn.message_index)).toEqual([0, 1, 0]);
  });

  test.each(["SIGINT", "SIGTERM"] as const)("ends at %s with a whole report and code 130", async (signal) => {
    using scratch = scratchDir();
    const output = join(scratch.path, "run.json");
    await using bench = start(["bench", ...endless, "--output", output], scratch.path);
    await checkpointOf(output, 3);
    bench.kill(signal);
    expect(await bench.exited).toBe(130);
    const report = await reportAt(output);
    expect(report).toMatchObject({ partial: true, abort_reason: signal });
    expect(report.turns.length).toBeGreaterThanOrEqual(3);
    expect(report.gates.errors.verdict).toBe("pass");
    expect(existsSync(`${output}.partial`)).toBe(false);
    expect(isAlive(ownServerPid(await bench.stderr))).toBe(false);
  });

  test("killed outright leaves its last checkpoint, a valid report, and no server", async () => {
    using scratch = scratchDir();
    const output = join(scratch.path, "run.json");
    await using bench = start(["bench", ...endless, "--output", output], scratch.path);
    const before = await checkpointOf(output, 5);
    bench.kill("SIGKILL");
    await bench.exited;
    const left = await reportAt(`${output}.partial`);
    expect(left).toMatchObject({ partial: true, abort_reason: null });
    expect(left.turns.length).toBeGreaterThanOrEqual(before.turns.length);
    const pid = ownServerPid(await bench.stderr);
    await eventually("the server's end", () => (isAlive(pid) ? undefined : true));
  });

  test("charges a stalled server to every turn that waited behind it", async () => {
    using scratch = scratchDir();
    const output = join(scratch.path, "run.json");
    await using server = await startServer("127.0.0.1:0", scratch.path);
    await using bench = start(["bench", ...endless, "--address", server.address, "--output", output], scratch.path);
    const { turns } = await checkpointOf(output, 3);
    server.kill("SIGSTOP");
    await Bun.sleep(1500);
    server.kill("SIGCONT");
    await checkpointOf(output, turns.length + 10);
    bench.kill("SIGINT");
    await bench.exited;
    const report = await reportAt(output);
    const waited = report.turns.filter((turn) => turn.t_relative_s - turn.scheduled_s > 0.2);
    expect(waited.length).toBeGreaterThanOrEqual(5);
    expect(report.agg.n_errors).toBe(0);
    expect(report.agg.max_response_s).toBeGreaterThanOrEqual(1);
  });

  test("goes on when its server is killed, in a new session when one is back; the gates say fail", async () => {
    using scratch = scratchDir();
    const output = join(scratch.path, "run.json");
    const first = await startServer("127.0.0.1:0", scratch.path);
    const { address } = first;
    await using bench = start(["bench", ...endless, "--address", address, "--output", output], scratch.path);
    const before = await checkpointOf(output, 3);
    await first[Symbol.asyncDispose]();
    await checkpointOf(output, before.turns.length + 2);
    await using _second = await startServer(address, scratch.path);
    await eventually("turns in a second session", async () => {
      const { turns } = await reportAt(`${output}.partial`);
      return turns.filter((turn) => turn.ok && turn.session_index === 1).length > 2 ? true : undefined;
    });
    bench.kill("SIGINT");
    expect(await bench.exited).toBe(130);
    const { agg, gates, turns } = await reportAt(output);
    expect(gates.errors.verdict).toBe("fail");
    expect(agg.n_sessions).toBe(2);
    const errors = new Set(turns.flatMap((turn) => (turn.ok ? [] : [turn.error_class])));
    expect([...errors].sort()).toEqual(["SessionNotFound", "Unavailable"]);
  });

  test("reaches a server on this machine whatever proxy the environment names", async () => {
    using scratch = scratchDir();
    const proxy = "http://127.0.0.1:9";
    const env = { http_proxy: proxy, https_proxy: proxy, grpc_proxy: proxy };
    await using bench = start(["bench", ...short, "--turns", "1", "--json"], scratch.path, env);
    expect(JSON.parse(await bench.stdout)).toMatchObject({ agg: { n_turns: 1, n_errors: 0 } });
  });

  test("shows a server its token, and says when it lacks one", async () => {
    using scratch = scratchDir();
    await using server = await startServer("127.0.0.1:0", scratch.path, ["--token", "open-sesame"]);
    const args = ["bench", "--address", server.address, ...short, "--turns", "1", "--output", "run.json"];
    await using without = start(args, scratch.path);
    expect(await without.exited).toBe(1);
    expect(await without.stderr).toContain(`the server at ${server.address} asks for its token`);
    await using wrong = start([...args, "--token", "open-says-me"], scratch.path);
    expect(await wrong.exited).toBe(1);
    const said = await wrong.stderr;
    expect(said).toContain(`the server at ${server.address} refused the token`);
    expect(said).not.toContain("says-me");
    await using shown = start([...args, "--token", "open-sesame"], scratch.path);
    expect(await shown.exited).toBe(0);
    expect(readFileSync(join(scratch.path, "run.json"), "utf8")).not.toContain("sesame");
  });

  test("gives up on a server that takes the connection and never answers", async () => {
    using scratch = scratchDir();
    using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const address = `127.0.0.1:${silent.port}`;
    for (const command of ["bench", "smoke"]) {
      await using run = start([command, "--address", address, "--connect-timeout", "0.3"], scratch.path);
      expect(await run.exited).toBe(1);
      expect(await run.stderr).toContain(`${address} accepted the connection, but did not answer within 0.3 s`);
    }
  });

  test("names a PEM file that it can't read, with its flag", async () => {
    using scratch = scratchDir();
    await using bench = start(["bench", "--address", "127.0.0.1:1", "--tls-ca", "/nowhere.pem"], scratch.path);
    expect(await bench.exited).toBe(1);
    expect(await bench.stderr).toStartWith("kakeya: --tls-ca /nowhere.pem: ENOENT");
  });

  test("says which server it can't reach, and what to do", async () => {
    using scratch = scratchDir();
    await using bench = start(["bench", "--address", "127.0.0.1:1", "--output", "run.json"], scratch.path);
    expect(await bench.exited).toBe(1);
    expect(await bench.stderr).toContain("no kakeya server answers at 127.0.0.1:1");
    expect(readdirSync(scratch.path)).toEqual([]);
  });

  test("shows the end of the log when its own server can't start", async () => {
    using scratch = scratchDir();
    await using bench = start(["bench", "--model", "/no/such/model", "--output", "run.json"], scratch.path);
    expect(await bench.exited).toBe(1);
    expect(await bench.stderr).toContain("/no/such/model: there is no such directory");
  });

  test("takes a wrong flag of its server for a wrong flag of its own", async () => {
    using scratch = scratchDir();
    await using bench = start(["bench", "--window", "none", "--output", "run.json"], scratch.path);
    expect(await bench.exited).toBe(2);
    expect(await bench.stderr).toStartWith('kakeya: --window must be an integer from 1 to 1048576, not "none"\n');
  });

  test.each([
    [["--turns", "0"], "--turns must be an integer of 1 or more"],
    [["--control", "none-at-all"], '--control must be none or reprefill, not "none-at-all"'],
    [["--template", "alpaca"], '--template must be raw or chatml, not "alpaca"'],
    [["--checkpoint-every", "0"], "--checkpoint-every must be longer than 0"],
    [["--address", "127.0.0.1:1", "--window", "8"], "--window is for a server that is started here"],
    [["--token", "x"], "--token is for the server at --address"],
    [["--tls-ca", "x.pem"], "--tls-ca is for the server at --address"],
    [["--address", "127.0.0.1:1", "--tls-cert", "x.pem"], "needs both --tls-cert and --tls-key"],
    [["--address", "127.0.0.1:1", "--connect-timeout", "0"], "--connect-timeout must be longer than 0"],
    [["--spacing", "1"], "unknown option --spacing"],
  ])("refuses %j with exit code 2", async (args, message) => {
    using scratch = scratchDir();
    await using bench = start(["bench", ...args], scratch.path);
    expect(await bench.exited).toBe(2);
    expect(await bench.stderr).toContain(message);
  });
});

describe("kakeya smoke", () => {
  test("leaves report and log in results/, and ends with the model's last answer in words", async () => {
    using scratch = scratchDir();
    await using smoke = start(["smoke", "--duration", "3", "--warm-up", "0", "--turn-spacing", "0.5"], scratch.path);
    // A run of a few turns says nothing about latency; what it counts must be right.
    expect(await smoke.exited).toBe(0);
    const [log, report] = readdirSync(join(scratch.path, "results")).sort((a, b) => b.length - a.length);
    expect(report).toMatch(/^smoke-\d+\.json$/);
    expect(log).toMatch(/^smoke-\d+\.server\.log$/);
    const { turns } = await reportAt(join(scratch.path, "results", report ?? ""));
    // How many turns a second fit in depends on the machine; which message was the last depends on that.
    expect(turns.length).toBeGreaterThan(0);
    expect(await smoke.stdout).toMatch(/last answer: [A-Z][a-z]* [a-z]/);
    expect(readFileSync(join(scratch.path, "results", log ?? ""), "utf8")).toContain("session");
  });

  test.skipIf(whyNoSmallDisk() !== undefined)("on a full disk names the file that can't be written", async () => {
    using disk = smallDisk(64 << 10);
    await Bun.write(join(disk.path, "full"), new Uint8Array(64 << 10));
    await using smoke = start(["smoke", "--duration", "1", "--warm-up", "0"], disk.path);
    expect(await smoke.exited).toBe(1);
    expect(await smoke.stderr).toMatch(/can't write \S*results\/smoke-\d+\.json\.partial: ENOSPC/);
  });
});
