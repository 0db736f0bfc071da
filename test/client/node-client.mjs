// node node-client.mjs <module of the SDK> <address> [CA file]: prints as JSON what the SDK does on Node.js.
import { readFileSync } from "node:fs";

const [sdk, address, ca] = process.argv.slice(2);
const { Client, Cancelled, InvalidArgument, SessionNotFound } = await import(sdk);

const client = new Client(address, ca === undefined ? {} : { tls: { ca: readFileSync(ca) } });
const session = await client.createSession({ eosTokenIds: [2047] });
const appended = await session.append(Uint32Array.from({ length: 100 }, (_, i) => i));
const ids = [];
for await (const id of session.generate({ maxTokens: 5, seed: 2n ** 64n - 1n, temperature: 0.9 })) ids.push(id);
const { stopReason, droppedTokens } = session.lastResult;
const { historyTokens, kvLiveBytes } = await session.info();

const abort = new AbortController();
let cancelled;
try {
  for await (const _ of session.generate({ maxTokens: 100_000, temperature: 2, signal: abort.signal })) abort.abort();
} catch (error) {
  cancelled = error instanceof Cancelled;
}
const failure = async (promise) => promise.then(() => undefined).catch((error) => error);
const result = {
  appended,
  ids: ids.length,
  stopReason,
  droppedTokens,
  historyTokens,
  kvLiveBytes,
  cancelled,
  usableAfterCancel: (await session.append([1])) > historyTokens,
  notFound: (await failure(client.session("nope").info())) instanceof SessionNotFound,
  invalid: (await failure(session.append([2048]))) instanceof InvalidArgument,
  closed: (await session.close()) > historyTokens,
  disposable: typeof client[Symbol.dispose ?? Symbol.for("Symbol.dispose")],
};
client.close();
console.log(JSON.stringify(result));
