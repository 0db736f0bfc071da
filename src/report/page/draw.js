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
const height = 230;
const printedWidth = 640;

const runs = JSON.parse(document.getElementById("plots").textContent);
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
let drawn = [];

const formats = {
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

function draw(plot, place, width, colours) {
  const format = formats[plot.unit];
  const axis = {
    stroke: colours.text,
    grid: { stroke: colours.grid, width: 1 },
    ticks: { stroke: colours.grid, width: 1 },
  };
  const longest = Math.max(...plot.series.flatMap(({ values }) => values.map((v) => v ?? 0)));
  const options = {
    width,
    height,
    scales: { x: { time: false }, y: { range: [0, longest > 0 ? longest * 1.08 : 1] } },
    axes: [
      { ...axis, incrs: timeSteps, space: 52, values: (_, ticks) => ticks.map(elapsed) },
      {
        ...axis,
        size: 78,
        values: (_, ticks) => ticks.map(format),
        ...(plot.unit === "bytes" ? { incrs: byteSteps } : {}),
      },
    ],
    series: [
      { label: "time", value: (_, s) => (s === null ? "" : elapsed(s)) },
      ...plot.series.map(({ label, values }, i) => ({
        label,
        stroke: colours.series[i % colours.series.length],
        width: 1.5,
        points: { show: values.length < 60, size: 4 },
        value: (_, v) => (v === null ? "" : format(v)),
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
    const plot = runs[place.dataset.run][place.dataset.plot];
    return draw(plot, place, printing ? printedWidth : place.clientWidth, colours);
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
