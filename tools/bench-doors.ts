/**
 * The time to the first token over HTTP against gRPC's: one server, the same conversation through both doors, turn by
 * turn, so that both meet the same load. Prints JSON.
 *
 *     bun tools/bench-doors.ts [--model DIR|ID] [--turns 200]
 */

import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { Client } from "../src/client/index.ts";
import { openEngine } from "../src/engine/open.ts";
import { createLog } from "../src/host/log.ts";
import { defaultEngineOptions } from "../src/host/options.ts";
import { percentile } from "../src/report/stats.ts";
import { startServer } from "../src/serve/server.ts";
import { loadChatTemplate } from "../src/text/chat-template.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";

const { values } = parseArgs({ options: { model: { type: "string" }, turns: { type: "string", default: "200" } } });
const turns = Number(values.turns);
const maxTokens = 16;
const warmUpTurns = 20;

const engine = await openEngine({ ...defaultEngineOptions, ...(values.model && { model: values.model }) });
const log = createLog({
  level: "error",
  format: "text",
  write: (line) => process.stderr.write(line),
  now: () => new Date(),
});
const server = await startServer(
  { engine, version: "bench", commit: null, log },
  { bind: "127.0.0.1:0", http: { bind: "127.0.0.1:0", isDefault: false } },
);
const { modelDir, eosTokenIds } = engine.info;
const tokenizer = loadTokenizer(modelDir);
const template = loadChatTemplate(modelDir, tokenizer, eosTokenIds);
const client = new Client(server.address);
const session = await client.createSession({ eosTokenIds });
let endedBy: "ended" | "cut" | undefined;

/** Renders, encodes, appends and generates, as the HTTP door does. */
async function overGrpc(question: string): Promise<number> {
  const startedAtMs = performance.now();
  const messages = [{ role: "user" as const, content: question }];
  const text = endedBy === undefined ? template.render(messages) : template.delta(messages, { answerWas: endedBy });
  await session.append(tokenizer.encode(text));
  let firstMs = Number.NaN;
  for await (const _ of session.generate({ maxTokens }))
    if (Number.isNaN(firstMs)) firstMs = performance.now() - startedAtMs;
  endedBy = session.lastResult?.stopReason === "eos" ? "ended" : "cut";
  return firstMs;
}

let previous: string | undefined;

async function overHttp(question: string): Promise<number> {
  const startedAtMs = performance.now();
  const body = JSON.stringify({
    input: question,
    stream: true,
    temperature: 0,
    max_output_tokens: maxTokens,
    ...(previous && { previous_response_id: previous }),
  });
  const response = await fetch(`${server.httpUrl}/v1/responses`, { method: "POST", body });
  if (!response.ok || response.body === null) throw new Error(await response.text());
  let firstMs = Number.NaN;
  let text = "";
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (Number.isNaN(firstMs) && text.includes("response.output_text.delta")) firstMs = performance.now() - startedAtMs;
  }
  previous = /"id":"(resp_\w+)"/.exec(text)?.[1];
  return firstMs;
}

const grpcMs: number[] = [];
const httpMs: number[] = [];
for (let turn = 0; turn < warmUpTurns + turns; turn++) {
  const question = `${turn % 10}: what is a session?`;
  // Who goes first changes, so that neither has the warmer cache.
  const doors = turn % 2 === 0 ? [overGrpc, overHttp] : [overHttp, overGrpc];
  for (const door of doors) {
    const ms = await door(question);
    if (turn >= warmUpTurns) (door === overGrpc ? grpcMs : httpMs).push(ms);
  }
}

const summary = (ms: number[]) => ({
  p50: Number(percentile(ms, 0.5)?.toFixed(3)),
  p95: Number(percentile(ms, 0.95)?.toFixed(3)),
});
/** Medians of the turns' quarters: flat, where a turn does not pay for those before it. */
const quarters = (ms: number[]) =>
  [0, 1, 2, 3].map((quarter) => summary(ms.slice((quarter * turns) / 4, ((quarter + 1) * turns) / 4)).p50);
const differences = httpMs.map((ms, turn) => ms - (grpcMs[turn] ?? Number.NaN));
console.log(
  JSON.stringify(
    {
      command: `bun tools/bench-doors.ts ${process.argv.slice(2).join(" ")}`.trim(),
      machine: { cpu: cpus()[0]?.model, cores: cpus().length, load: loadavg() },
      model: engine.info.modelId,
      turns,
      grpc_first_token_ms: summary(grpcMs),
      http_first_token_ms: summary(httpMs),
      http_first_token_ms_p50_by_quarter: quarters(httpMs),
      http_minus_grpc_ms: summary(differences),
    },
    null,
    2,
  ),
);
client.close();
await server.stop();
await engine.close();
