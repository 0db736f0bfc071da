import { command } from "../src/cli/command.ts";
import { exit, UsageError } from "../src/cli/exit.ts";
import { print, say } from "../src/cli/output.ts";

export default command({
  name: "aggregate",
  description: "Recompute a bench report from its turns; compare several.",
  args: {
    "file...": {
      type: "positional",
      description: "A report, or - for the standard input; several are compared side by side",
      required: false,
    },
    html: {
      type: "string",
      description: "Also write an HTML page, complete in one file; - for the standard output",
      valueHint: "page.html",
    },
    force: {
      type: "boolean",
      description: "Let --html replace a file that is not one of kakeya's pages",
      default: false,
    },
    json: { type: "boolean", description: "Print JSON instead of a table", default: false },
    strict: { type: "boolean", description: "Count an inconclusive latency gate, too (exit code 4)", default: false },
  },
  examples: ["aggregate results/bench.json", "aggregate before.json after.json --html page.html"],
  async run({ args }) {
    const { writeTo } = await import("../src/files/write-to.ts");
    const { pageDestination } = await import("../src/report/outputs.ts");
    const { latestReport, readReport } = await import("../src/report/report-file.ts");
    const { contradictions } = await import("../src/report/contradiction.ts");
    const { jsonText, recompute } = await import("../src/report/recompute.ts");
    const { exitCode } = await import("../src/report/gates.ts");
    const { textTable } = await import("../src/report/table.ts");

    const files = args._.length > 0 ? args._ : [latestReport("results")].filter((file) => file !== null);
    if (files.length === 0) throw new UsageError("name a report: there is none in results/");
    if (args._.length === 0) say(`no report named: the latest one in results/, ${files[0]}`);

    if (files.filter((file) => file === "-").length > 1) throw new UsageError("- is one report: name it once");
    const page =
      args.html === undefined
        ? undefined
        : pageDestination(args.html, { inputs: files, force: args.force, chosen: true });

    const runs = [];
    for (const file of files) runs.push(recompute(file, await readReport(file)));
    const show = page?.kind === "stdout" ? say : print;
    const contradicted = contradictions(runs);
    if (args.json) for (const line of contradicted) say(line);
    show(
      args.json
        ? jsonText(runs)
        : [...contradicted, ...(contradicted.length > 0 ? [""] : []), textTable(runs)].join("\n"),
    );
    if (page !== undefined) {
      const { htmlPage } = await import("../src/report/html.ts");
      await writeTo(page, htmlPage(runs));
      if (page.kind !== "stdout") say(`wrote ${page.path}`);
    }
    if (contradicted.length > 0) return exit.gateFailed;
    return exitCode(
      runs.map((run) => run.gates),
      { strict: args.strict },
    );
  },
});
