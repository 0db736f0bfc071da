import { expect, test } from "bun:test";
import { join } from "node:path";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import { recompute } from "../../src/report/recompute.ts";
import { readResults, resultsFolder, resultsPage } from "../../tools/results-page.ts";
import { reportOf, steady, world } from "../report/series.ts";

const turns = steady(60);
const run = recompute(
  "steady.json",
  reportOf(turns, { agg: aggregateV2(turns, 1800), gates: judge(turns, { world, rotation: 6 }) }),
);

test("the page has a column for each run, and the reasons of its gates", () => {
  const page = resultsPage([run, { ...run, file: "other.json" }]);
  expect(page).toContain("|  | [steady.json](steady.json) | [other.json](other.json) |");
  expect(page).toContain("| turns | 60 | 60 |");
  expect(page).toContain("## other.json\n\n`kakeya bench`\n\n- memory: **pass**. ");
});

test("results/README.md is made from the reports beside it", async () => {
  const page = await Bun.file(join(resultsFolder, "README.md")).text();
  expect(page).toBe(resultsPage(await readResults(resultsFolder)));
});

test("every report in results/ says of itself what its turns say, and where its numbers come from", async () => {
  for (const { differences, report } of await readResults(resultsFolder)) {
    expect(differences).toEqual([]);
    expect(report).toMatchObject({ schema_version: 2, world: { commit: expect.any(String) } });
  }
});
