// A chat over /v1/conversations and /v1/responses, and what the server says about itself.

const { addTurn, forgetTurns, tokens, seconds } = window.flatness;
const part = (id) => document.getElementById(id);
const bytes = (count) => (count >= 2 ** 20 ? `${(count / 2 ** 20).toFixed(1)} MiB` : `${Math.round(count / 1024)} KiB`);

/** Kept by this page alone, and only until it is closed. */
let token = "";
let conversation;
/** The answer under way: its id once it has one, and what ends the request before. */
let answering;

function request(path, body, signal) {
  const headers = { "content-type": "application/json" };
  if (token !== "") headers.authorization = `Bearer ${token}`;
  const init = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body), signal };
  return fetch(path, init);
}

async function checked(response) {
  if (response.ok) return response;
  if (response.status === 401) {
    part("token-form").hidden = false;
    part("token").focus();
  }
  const { error } = await response.json();
  throw new Error(error.message);
}

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.slice(event.indexOf("data: ") + 6);
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

function say(who, text = "") {
  const article = document.createElement("article");
  const heading = document.createElement("h3");
  heading.textContent = who;
  const words = document.createElement("div");
  words.textContent = text;
  article.append(heading, words);
  part("log").append(article);
  article.scrollIntoView({ block: "end" });
  return words;
}

function show(id, text) {
  part(id).textContent = text;
}

function showTurn({ usage, kakeya }) {
  show("history", tokens(kakeya.history_tokens));
  show("live", bytes(kakeya.kv_live_bytes));
  show("slab", bytes(kakeya.kv_slab_bytes));
  show("computed", tokens(kakeya.computed_tokens));
  show("cached", tokens(usage.input_tokens_details.cached_tokens));
  show("first", seconds(kakeya.first_token_seconds));
  show("pace", seconds(kakeya.total_seconds / Math.max(1, kakeya.computed_tokens)));
  addTurn(kakeya);
}

async function answer(question) {
  conversation ??= (await (await checked(await request("/v1/conversations", {}))).json()).id;
  const body = { conversation, input: question, stream: true };
  const stream = await request("/v1/responses", body, answering.aborting.signal);
  await checked(stream);
  let words;
  let thinking;
  for await (const event of eventsOf(stream)) {
    if (event.type === "response.created") {
      answering.id = event.response.id;
    } else if (event.type === "response.output_text.delta") {
      words ??= say("kakeya");
      words.append(event.delta);
    } else if (event.type === "response.reasoning_text.delta") {
      thinking ??= say("kakeya, thinking");
      thinking.className = "thinking";
      thinking.append(event.delta);
    } else if (event.type === "response.failed") {
      throw new Error(event.response.error.message);
    } else if (event.response?.kakeya) {
      showTurn(event.response);
    }
    part("log").scrollTop = part("log").scrollHeight;
  }
}

async function ask() {
  const question = part("question").value.trim();
  if (question === "" || answering !== undefined) return;
  answering = { aborting: new AbortController() };
  part("question").value = "";
  part("send").disabled = true;
  part("stop").disabled = false;
  part("log").setAttribute("aria-busy", "true");
  say("you", question);
  try {
    await answer(question);
  } catch (error) {
    if (error.name !== "AbortError") say("problem", error.message).className = "problem";
  }
  answering = undefined;
  part("log").setAttribute("aria-busy", "false");
  part("send").disabled = false;
  part("stop").disabled = true;
  part("question").focus();
}

/** By its id it ends in order, and what was said by then stays in the conversation. */
function stop() {
  if (answering?.id === undefined) answering?.aborting.abort();
  else request(`/v1/responses/${answering.id}/cancel`, {});
}

async function showServer() {
  if (document.hidden) return;
  try {
    const status = await (await checked(await request("/status"))).json();
    show("model", `${status.model}, ${status.quantization}${status.adapter && `, on ${status.adapter}`}`);
    show("keeps", `keeps the first ${tokens(status.sink)} and the last ${tokens(status.window)} tokens`);
    show("sessions", `${status.sessions.length} of ${status.capacity}`);
    show("parked", status.parked === null ? "-" : tokens(status.parked));
    show("load", tokens(status.calls_in_flight - 1));
    show("all-live", bytes(status.sessions.reduce((sum, session) => sum + session.kv_live_bytes, 0)));
    show("all-history", tokens(status.sessions.reduce((sum, session) => sum + session.history_tokens, 0)));
    show("resident", bytes(status.resident_bytes));
    show("problem", "");
  } catch (error) {
    show("problem", error.message);
  }
}

part("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
part("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
part("stop").addEventListener("click", stop);
part("new").addEventListener("click", () => {
  stop();
  conversation = undefined;
  part("log").replaceChildren();
  for (const id of ["history", "live", "slab", "computed", "cached", "first", "pace"]) show(id, "-");
  forgetTurns();
  part("question").focus();
});
part("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = part("token").value;
  part("token").value = "";
  part("token-form").hidden = true;
  showServer();
});
showServer();
setInterval(showServer, 1000);
