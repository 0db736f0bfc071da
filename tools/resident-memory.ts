/**
 * Prints as JSON how a server's resident memory went over the turns of a bench's report, a hundred at a time. The least of
 * them is what is left after a full collection of the JavaScript heap; the rest is garbage on top of it.
 *
 *     bun tools/resident-memory.ts REPORT
 */
import { readReport } from "../src/report/report-file.ts";
import { percentile } from "../src/report/stats.ts";

const turnsTogether = 100;

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("name the report: bun tools/resident-memory.ts REPORT");
const report = await readReport(path);
if (report.schema_version !== 2) throw new Error(`${path}: the report of an earlier runtime has no resident memory`);

const bytes = report.turns.flatMap((turn) =>
  turn.ok && turn.server_rss_bytes !== null ? [turn.server_rss_bytes] : [],
);
const hundreds = Array.from({ length: Math.floor(bytes.length / turnsTogether) }, (_, i) =>
  bytes.slice(i * turnsTogether, (i + 1) * turnsTogether),
);
const { command_line, commit, os, cpu_model, cores } = report.world;
console.log(
  JSON.stringify(
    {
      kind: "resident_memory",
      command: command_line.join(" "),
      commit,
      machine: `${cores} x ${cpu_model}, ${os}`,
      started_at: report.started_at,
      duration_s: report.duration_s,
      turns: bytes.length,
      least_bytes_by_100_turns: hundreds.map((some) => Math.min(...some)),
      median_bytes_by_100_turns: hundreds.map((some) => percentile(some, 0.5)),
    },
    null,
    2,
  ),
);
