// What a conversation's turns cost, drawn over its length: the point of this runtime.

const darkScheme = matchMedia("(prefers-color-scheme: dark)");
/** One entry a turn: history, computed tokens, seconds a token. */
const turns = { history: [], computed: [], secondsPerToken: [] };
let drawn = [];

const tokens = (count) => count.toLocaleString("en");
const seconds = (s) => (s >= 1 ? `${Number(s.toPrecision(3))} s` : `${Number((s * 1000).toPrecision(3))} ms`);

function drawPlot(id, values, format, label) {
  const [text, grid, line] = darkScheme.matches ? ["#dbe2ec", "#2b3442", "#76a9ff"] : ["#1c2430", "#e3e7ee", "#1f5fd0"];
  const place = document.getElementById(id);
  const axis = { stroke: text, grid: { stroke: grid }, ticks: { stroke: grid } };
  const options = {
    width: Math.max(200, place.clientWidth),
    height: 150,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false }, y: { range: (_, least, most) => [0, Math.max(most * 1.2, least, 1e-9)] } },
    axes: [
      { ...axis, values: (_, ticks) => ticks.map(tokens) },
      { ...axis, size: 64, values: (_, ticks) => ticks.map(format) },
    ],
    series: [{}, { stroke: line, width: 2, points: { show: true, size: 5 } }],
  };
  drawn.push(new uPlot(options, [turns.history, values], place));
  place.setAttribute("aria-label", `${label}: ${values.map(format).join(", ") || "no turn yet"}`);
}

function draw() {
  for (const plot of drawn) plot.destroy();
  drawn = [];
  drawPlot("computed-plot", turns.computed, tokens, "Tokens computed, turn by turn");
  drawPlot("seconds-plot", turns.secondsPerToken, seconds, "Seconds a token, turn by turn");
}

/** Adds a turn as the server accounts for it (`kakeya` of a response). */
function addTurn({ history_tokens, computed_tokens, total_seconds }) {
  turns.history.push(history_tokens);
  turns.computed.push(computed_tokens);
  turns.secondsPerToken.push(total_seconds / Math.max(1, computed_tokens));
  draw();
}

function forgetTurns() {
  for (const values of Object.values(turns)) values.length = 0;
  draw();
}

darkScheme.addEventListener("change", draw);
new ResizeObserver(draw).observe(document.getElementById("session"));
window.flatness = { addTurn, forgetTurns, tokens, seconds };
