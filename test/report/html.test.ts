import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import { htmlPage } from "../../src/report/html.ts";
import { overlaysOf, plotsOf } from "../../src/report/page/plots.ts";
import { recompute } from "../../src/report/recompute.ts";
import type { TurnV2 } from "../../src/report/report.ts";
import { readReport } from "../../src/report/report-file.ts";
import { chromium } from "./chromium.ts";
import { reportOf, steady, withFailure, withTurn, world } from "./series.ts";

// A browser may have to be installed first.
setDefaultTimeout(300_000);

const realRun = recompute("real.json", await readReport(`${import.meta.dir}/data/bench_session_4h_1780332893.json`));

function runOf(turns: TurnV2[], file = "own.json") {
  const figures = { agg: aggregateV2(turns, 1), gates: judge(turns, { world, rotation: 6 }) };
  return recompute(file, reportOf(turns, figures));
}

describe("the page", () => {
  test("is the same bytes for the same runs", () => {
    expect(htmlPage([runOf(steady(60)), realRun])).toBe(htmlPage([runOf(steady(60)), realRun]));
  });

  test("loads nothing from anywhere", () => {
    const page = htmlPage([runOf(steady(60))]);
    expect(page).not.toMatch(/(?:src|href)=|@import|url\(/);
    expect(page).toContain("default-src 'none'");
  });

  test("shows a report's text as text, whatever it holds", () => {
    const turns = withFailure(steady(9), 4).map((turn) =>
      turn.ok ? turn : { ...turn, error_str: "<script>alert(1)</script>" },
    );
    const page = htmlPage([runOf(turns, "</title><b>.json")]);
    expect(page).not.toContain("<script>alert");
    expect(page).not.toContain("</title><b>");
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  });

  test("has a card for every gate, the world, and where the file says otherwise", () => {
    const page = htmlPage([runOf(withFailure(steady(60), 30))]);
    for (const name of ["memory", "work", "latency", "invariants"]) {
      expect(page).toContain(`<li class="pass"><h3>${name}: <span class="verdict">pass</span>`);
    }
    expect(page).toContain('<li class="fail"><h3>errors: ');
    expect(page).toContain("Qwen3ForCausalLM");
    expect(page).toContain("agg.duration_s");
  });

  test("of several runs begins with every verdict, and ends with what the numbers depend on", () => {
    const bad = runOf(withFailure(steady(60), 30), "bad.json");
    const page = htmlPage([runOf(steady(60), "good.json"), bad]);
    const row = (file: string) => page.match(new RegExp(`<a href="#run-\\d">${file}</a>.*?</tr>`))?.[0] ?? "";
    const verdicts = (file: string) => [...row(file).matchAll(/class="verdict">(\w+)</g)].map(([, verdict]) => verdict);
    expect(verdicts("good.json")).toEqual(["pass", "pass", "pass", "pass", "pass"]);
    expect(verdicts("bad.json")).toEqual(["pass", "pass", "pass", "pass", "fail"]);
    const places = ["<h1>", 'class="figures verdicts"', 'data-overlay="0"', 'id="run-0"', 'id="run-1"', "fingerprint"];
    expect(places.map((part) => page.indexOf(part)).toSorted((a, b) => a - b)).toEqual(
      places.map((part) => page.indexOf(part)),
    );
    expect(page.split("fingerprint")).toHaveLength(2);
  });

  test("keeps earlier runtimes' verdicts apart, under a heading that says why they mislead", () => {
    for (const page of [htmlPage([runOf(steady(60))]), htmlPage([runOf(steady(60)), realRun])]) {
      const heading = page.indexOf("<h3>as earlier runtimes judged it</h3>");
      expect(heading).toBeGreaterThan(page.indexOf("<h3>Figures</h3>"));
      expect(page.indexOf("These mislead")).toBeGreaterThan(heading);
      for (const name of ["kv_bounded", "prefill_bounded", "latency_drift_p50_s"]) {
        expect(page.indexOf(`>${name}<`)).toBeGreaterThan(heading);
      }
    }
  });

  test("holds no character that makes the page read as something else", () => {
    const turns = withFailure(steady(9), 4).map((turn) =>
      turn.ok ? turn : { ...turn, error_class: "\u202eelbaliavanU", error_str: "a\u009b31mb\u001b[2Jc" },
    );
    const hostile = runOf(turns, "\u2066evil\u202e.json");
    for (const page of [htmlPage([hostile]), htmlPage([hostile, hostile])]) {
      expect(page.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
    }
  });

  test("says when a run is the negative control", () => {
    const run = runOf(steady(30));
    if (run.report.schema_version !== 2) throw new Error("not schema 2");
    const config = { ...run.report.config, control: "reprefill" as const };
    expect(htmlPage([recompute("c.json", { ...run.report, config })])).toContain("A negative control (reprefill)");
  });
});

describe("plots", () => {
  test("leave out what a report does not say", () => {
    expect(plotsOf(realRun).map(({ title }) => title)).toEqual(["Latency of a turn", "KV cache", "History"]);
    expect(plotsOf(runOf(steady(9)))).toHaveLength(5);
    expect(plotsOf(runOf([]))).toEqual([]);
  });

  test("mark failed turns and new sessions", () => {
    const turns = withFailure(steady(9), 4).map((turn, i) => ({ ...turn, session_index: i < 5 ? 0 : 1 }));
    const [latency] = plotsOf(runOf(turns));
    expect(latency?.failed_at).toHaveLength(1);
    expect(latency?.sessions_at).toHaveLength(1);
  });

  test("of several runs lie on top of each other, as far as two of them have the same", () => {
    const [own, real] = [plotsOf(runOf(steady(9))), plotsOf(realRun)];
    expect(overlaysOf([own, real]).map(({ title, of }) => [title, of])).toEqual([
      [
        "Latency of a turn",
        [
          { run: 0, plot: 0 },
          { run: 1, plot: 0 },
        ],
      ],
      [
        "KV cache",
        [
          { run: 0, plot: 2 },
          { run: 1, plot: 1 },
        ],
      ],
      [
        "History",
        [
          { run: 0, plot: 4 },
          { run: 1, plot: 2 },
        ],
      ],
    ]);
    expect(overlaysOf([own])).toEqual([]);
    expect(overlaysOf([own, []])).toEqual([]);
  });

  test("of a long run are thinned, and keep the one slow turn in sight", () => {
    const [latency] = plotsOf(runOf(withTurn(steady(50_000), 31_415, { latency_s: 60 })));
    expect(latency?.x.length).toBe(2000);
    expect(latency?.series.map(({ label }) => label)).toContain("latency, highest of 25");
    expect(Math.max(...(latency?.series.flatMap(({ values }) => values.map(Number)) ?? []))).toBe(60);
  });
});

const browser = chromium();

describe.skipIf(browser === null)("in a browser", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "kakeya-page-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** What the page did: for each plot, the points it says it drew and the pixels of its first curve's colour. */
  async function opened(
    page: string,
    ...flags: string[]
  ): Promise<{ drawn: number[]; pixels: number[]; wide: boolean }> {
    const probe = `<script>addEventListener("load", () => setTimeout(() => {
      const seen = [...document.querySelectorAll(".plot")].map((place) => {
        const canvas = place.querySelector("canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let pixels = 0;
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 0 && data[i + 2] > data[i] + 60) pixels++;
        return { drawn: Number(place.dataset.drawn), pixels };
      });
      const wide = document.documentElement.scrollWidth > innerWidth;
      document.body.insertAdjacentHTML("beforeend", "<pre id=probe>" + JSON.stringify({
        drawn: seen.map((s) => s.drawn), pixels: seen.map((s) => s.pixels), wide }) + "</pre>");
    }, 300))</script>`;
    const path = join(folder, `${Bun.randomUUIDv7()}.html`);
    await Bun.write(path, page.replace("</body>", `${probe}</body>`));
    const basic = ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${folder}/profile`];
    const dump = ["--virtual-time-budget=5000", "--dump-dom", `file://${path}`];
    const process = Bun.spawn([browser ?? "", ...basic, ...flags, ...dump], { stderr: "ignore" });
    const dom = await new Response(process.stdout).text();
    expect(await process.exited).toBe(0);
    return JSON.parse(dom.match(/<pre id="probe">(.*?)<\/pre>/)?.[1] ?? "null");
  }

  const expectDrawn = (seen: { drawn: number[]; pixels: number[] }, points: number[]) => {
    expect(seen.drawn).toEqual(points);
    for (const pixels of seen.pixels) expect(pixels).toBeGreaterThan(100);
  };

  test("every plot of every run is drawn, and the runs on top of each other before them", async () => {
    // At the same moments, so that the curves together have no more points than each; apart, so that neither hides one.
    const twice = steady(60).map((turn) => ({
      ...turn,
      latency_s: turn.latency_s * 2,
      ttft_s: (turn.ttft_s ?? 0) * 2,
      kv_live_bytes: (turn.kv_live_bytes ?? 0) * 2,
      server_rss_bytes: (turn.server_rss_bytes ?? 0) * 2,
      history_length: turn.history_length * 2,
    }));
    const seen = await opened(htmlPage([runOf(steady(60)), runOf(twice)]), "--window-size=1200,900");
    expectDrawn(
      seen,
      Array.from({ length: 15 }, () => 60),
    );
    expect(seen.wide).toBe(false);
  });

  test("runs of different lengths are drawn over each other, each from its start to its end", async () => {
    const seen = await opened(htmlPage([runOf(steady(60)), realRun]), "--window-size=1200,900");
    const [overlays, own] = [seen.drawn.slice(0, 3), seen.drawn.slice(3)];
    expect(own).toEqual([60, 60, 60, 60, 60, 480, 480, 480]);
    for (const points of overlays) expect(points).toBeGreaterThan(480);
    expect(seen.wide).toBe(false);
  });

  test("and so they are in the dark, on a narrow screen, which nothing exceeds", async () => {
    const page = htmlPage([runOf(withFailure(steady(60), 9), `${"long-name-".repeat(9)}.json`)]);
    const seen = await opened(
      page,
      "--window-size=500,800",
      "--force-dark-mode",
      "--blink-settings=preferredColorScheme=0",
    );
    expectDrawn(seen, [59, 59, 59, 59, 59]);
    expect(seen.wide).toBe(false);
  });

  test("a run of no turns is a page without plots", async () => {
    expect(await opened(htmlPage([runOf([])]))).toEqual({ drawn: [], pixels: [], wide: false });
  });
});
