import { createHash } from "node:crypto";
import uplotJs from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotCss from "uplot/dist/uPlot.min.css" with { type: "text" };
import chatJs from "./chat.js" with { type: "text" };
import flatnessJs from "./flatness.js" with { type: "text" };
import pageCss from "./page.css" with { type: "text" };

const scripts = [uplotJs, `{${flatnessJs}}`, `{${chatJs}}`];
const style = `${uplotCss}\n${pageCss}`;

const figure = (id: string, label: string) => `<dt>${label}</dt><dd id="${id}">-</dd>`;

const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kakeya</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header>
<h1>kakeya</h1><span id="model"></span><span id="keeps" class="quiet"></span>
<span id="problem" class="problem" role="status"></span>
</header>
<main>
<h2 class="hidden">Conversation</h2>
<div id="log" role="log" aria-live="polite" aria-label="Conversation" tabindex="0"></div>
<form id="token-form" hidden>
<label class="hidden" for="token">The server's token</label>
<input id="token" type="password" autocomplete="off" placeholder="The server's token" required>
<button>Use it</button>
</form>
<form id="ask">
<label class="hidden" for="question">Your message</label>
<textarea id="question" rows="2" placeholder="Your message; Enter sends it" autofocus></textarea>
<button id="send">Send</button>
<button id="stop" type="button" class="second" disabled>Stop</button>
<button id="new" type="button" class="second">New</button>
</form>
</main>
<aside>
<section id="session" aria-labelledby="session-heading">
<h2 id="session-heading">This session</h2>
<dl>
${figure("history", "history, tokens")}
${figure("live", "remembered in")}
${figure("slab", "of a place of")}
${figure("computed", "computed for the last turn, tokens")}
${figure("cached", "not computed again, tokens")}
${figure("first", "to the first token")}
${figure("pace", "seconds a token")}
</dl>
</section>
<section>
<h2>Tokens computed, by length of the history</h2>
<div id="computed-plot" class="plot" role="img" aria-label="no turn yet"></div>
</section>
<section>
<h2>Seconds a token, by length of the history</h2>
<div id="seconds-plot" class="plot" role="img" aria-label="no turn yet"></div>
</section>
<section aria-labelledby="server-heading">
<h2 id="server-heading">The server</h2>
<dl>
${figure("sessions", "sessions in memory")}
${figure("parked", "parked ones")}
${figure("load", "calls in flight")}
${figure("all-history", "tokens in all histories")}
${figure("all-live", "remembered in")}
${figure("resident", "memory of the process")}
</dl>
</section>
</aside>
${scripts.map((script) => `<script>${script}</script>`).join("\n")}
</body>
</html>
`;

const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** Only the page's own scripts run, and they talk only to its server. */
const policy = [
  "default-src 'none'",
  `script-src ${scripts.map(hash).join(" ")}`,
  `style-src ${hash(style)}`,
  "img-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** GET /: a chat with the model, and beside it what its turns cost. */
export function pageResponse(): Response {
  return new Response(html, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "cache-control": "no-cache",
    },
  });
}
