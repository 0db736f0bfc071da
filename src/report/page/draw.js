// Draws the page's plots with uPlot, anew for each width, colour scheme and printer.

const light = {
  text: "#1c2430",
  grid: "#e3e7ee",
  series: ["#1f5fd0", "#d06a00", "#2a8a4a", "#8a4ac0"],
  failed: "#d11f2f",
};
const dark = {
  text: "#dbe2ec",
  grid: "#2b3442",
  series: ["#76a9ff", "#ffb066", "#6fd08c", "#c79bff"],
  failed: "#ff6b78",
};
/** Of more series than there are colours. */
const dashes = [[], [8, 4], [2, 3]];
const height = 230;
const printedWidth = 640;

const { names, runs, overlays } = JSON.parse(document.getElementById("plots").textContent);
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
let drawn = [];

const formats = {
  share: (percent) => `${digits(percent)}%`,
  seconds: (s) => (s === 0 ? "0" : Math.abs(s) >= 1 ? `${digits(s)} s` : `${digits(s * 1000)} ms`),
  tokens: (n) => n.toLocaleString("en"),
  bytes: (n) => {
    const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, n)) / 10)));
    return `${digits(n / 1024 ** power)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
  },
};

function digits(value) {
  return String(Number(value.toPrecision(4)));
}

function elapsed(s) {
  if (s === 0) return "0";
  if (s < 120) return `${digits(s)} s`;
  if (s < 7200) return `${digits(s / 60)} min`;
  const minutes = Math.round(s / 60) % 60;
  return minutes === 0 ? `${Math.round(s / 3600)} h` : `${Math.floor(s / 3600)} h ${minutes}`;
}

/** Steps of the time axis that fall on whole minutes and hours. */
const timeSteps = [
  0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 604800,
];
const byteSteps = Array.from({ length: 60 }, (_, power) => 2 ** power);

function marks(plot, colours) {
  return (u) => {
    const line = (x, colour, dash) => {
      const at = Math.round(u.valToPos(x, "x", true));
      u.ctx.save();
      u.ctx.strokeStyle = colour;
      u.ctx.lineWidth = devicePixelRatio;
      u.ctx.setLineDash(dash);
      u.ctx.beginPath();
      u.ctx.moveTo(at, u.bbox.top);
      u.ctx.lineTo(at, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
      u.ctx.restore();
    };
    for (const x of plot.sessions_at) line(x, colours.text, [4, 4]);
    for (const x of plot.failed_at) line(x, colours.failed, []);
  };
}

/** One plot of several runs: the first series of each, from its run's start to its end, however long that took. */
function overlaid({ title, unit, of }) {
  const plots = of.map(({ run, plot }) => runs[run][plot]);
  const shares = plots.map(({ x }) => x.map((s) => (s / (x.at(-1) || 1)) * 100));
  const [x, ...columns] = uPlot.join(plots.map(({ series }, i) => [shares[i], series[0].values]));
  const series = of.map(({ run }, i) => ({ label: names[run], values: columns[i], place: run }));
  return { title, unit, x, xUnit: "share", series, failed_at: [], sessions_at: [] };
}

/** Curves of different orders of magnitude would leave all but the highest on the floor of a linear scale. */
function isWide(plot) {
  if (plot.xUnit !== "share") return false;
  const all = plot.series.flatMap(({ values }) => values).filter(known);
  const tops = plot.series.map(({ values }) => highest(values)).filter((top) => top > 0);
  return all.every((v) => v > 0) && Math.max(...tops) > 20 * Math.min(...tops);
}

function known(value) {
  return value !== null && value !== undefined;
}

function highest(values) {
  return values.reduce((top, v) => Math.max(top, v ?? 0), 0);
}

function plotAt({ overlay, run, plot }) {
  return overlay === undefined ? runs[run][plot] : overlaid(overlays[overlay]);
}

function draw(plot, place, width, colours) {
  const format = formats[plot.unit];
  const axis = {
    stroke: colours.text,
    grid: { stroke: colours.grid, width: 1 },
    ticks: { stroke: colours.grid, width: 1 },
  };
  const longest = Math.max(...plot.series.map(({ values }) => highest(values)));
  const y = isWide(plot)
    ? { distr: 3, log: plot.unit === "bytes" ? 2 : 10 }
    : { range: [0, longest > 0 ? longest * 1.08 : 1] };
  const xFormat = plot.xUnit === "share" ? formats.share : elapsed;
  const options = {
    width,
    height,
    scales: { x: { time: false }, y },
    axes: [
      { ...axis, incrs: timeSteps, space: 52, values: (_, ticks) => ticks.map(xFormat) },
      {
        ...axis,
        size: 78,
        // A logarithmic axis leaves out the names of most of its ticks.
        values: (_, ticks) => ticks.map((tick) => (known(tick) ? format(tick) : "")),
        ...(plot.unit === "bytes" && y.distr === undefined ? { incrs: byteSteps } : {}),
      },
    ],
    series: [
      { label: plot.xUnit === "share" ? "of the run" : "time", value: (_, x) => (known(x) ? xFormat(x) : "") },
      ...plot.series.map(({ label, values, place: at }, i) => ({
        label,
        stroke: colours.series[(at ?? i) % colours.series.length],
        dash: dashes[Math.floor((at ?? i) / colours.series.length) % dashes.length],
        width: 1.5,
        points: { show: values.filter(known).length < 60, size: 4 },
        value: (_, v) => (known(v) ? format(v) : ""),
      })),
    ],
    hooks: { draw: [marks(plot, colours), () => place.setAttribute("data-drawn", String(plot.x.length))] },
  };
  return new uPlot(options, [plot.x, ...plot.series.map(({ values }) => values)], place);
}

function drawAll(printing) {
  for (const chart of drawn) chart.destroy();
  const colours = darkScheme.matches && !printing ? dark : light;
  drawn = [...document.querySelectorAll(".plot")].map((place) => {
    return draw(plotAt(place.dataset), place, printing ? printedWidth : place.clientWidth, colours);
  });
}

drawAll(false);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  drawAll(false);
});
darkScheme.addEventListener("change", () => drawAll(false));
addEventListener("beforeprint", () => drawAll(true));
addEventListener("afterprint", () => drawAll(false));
