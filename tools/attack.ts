/**
 * Attacks servers of its own on loopback, bounded in count and time (about two minutes), and prints JSON: what each
 * attack took from the server and from its other clients. Exit code 1 when a bound does not hold.
 *
 * - silence: 70 connections that say nothing to a server with 64 descriptors, at each of its doors, and 10 that don't
 *   close when it does;
 * - unfinished: 250 requests of 4 MiB on one connection, each short of one byte, without and with the token; the same to
 *   the HTTP door, each on a connection of its own;
 * - resets: 20,000 calls that are reset at once, on one connection and on eight, without and with the token.
 *
 *     bun tools/attack.ts [--kakeya "dist/kakeya"] > results/measurements/attack.json
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Client, type ClientOptions } from "../src/client/index.ts";
import { OwnServer } from "../src/connection/own-server.ts";
import { percentile } from "../src/report/stats.ts";
import { callHeaders, endHeaders, frame, frameType, opening, openSocket, uint32 } from "./raw-http2.ts";

const { values } = parseArgs({ options: { kakeya: { type: "string" } } });
const kakeya = values.kakeya?.split(" ") ?? [process.execPath, resolve(import.meta.dir, "../src/main.ts")];
const token = "correct-horse";
const folder = mkdtempSync(join(tmpdir(), "kakeya-attack-"));
await Bun.write(join(folder, "token"), token);
const appendTokens = "/kakeya.v1.RuntimeService/AppendTokens";
const authorized = { authorization: `Bearer ${token}` };

const startedAt = new Date();
const loadAtStart = loadavg();
const silence = await silentConnections();
const unfinished = { withoutToken: await unfinishedRequests({}), withToken: await unfinishedRequests(authorized) };
const bodies = { withoutToken: await unfinishedBodies({}), withToken: await unfinishedBodies(authorized) };
const resets = {
  withoutToken: await resetBursts({}, 1),
  withToken: await resetBursts(authorized, 1),
  withTokenOnEight: await resetBursts(authorized, 8),
};
rmSync(folder, { recursive: true });

const all = Object.values(resets);
const bounds = {
  "a new client is answered beside the silent ones, at whichever door": silence.newClientAnswered,
  "silence costs less than a tenth of a core": silence.cpuShare < 0.1,
  "connections that the peer does not close are gone": silence.descriptorsLeftToThePeer === 0,
  "without the token nothing is kept: less than 64 MB": unfinished.withoutToken.grewBytes < 64e6,
  "with the token 32 MiB of one connection's requests are kept": unfinished.withToken.keptBytes <= 32 * 2 ** 20,
  // What was given up is memory until the garbage collector has come by.
  "and memory grows by less than 320 MB": unfinished.withToken.grewBytes < 320e6,
  "of HTTP's bodies nothing is kept without the token: less than 64 MB": bodies.withoutToken.grewBytes < 64e6,
  "with the token memory grows by less than twice the 64 MiB that may be held": bodies.withToken.grewBytes < 134e6,
  "others are answered beside the bodies": bodies.withoutToken.othersAnswered && bodies.withToken.othersAnswered,
  "an attack with resets takes less than 250 ms of the server's time": all.every(({ cpuOfOneMs }) => cpuOfOneMs < 250),
  "turns of others stay under 250 ms": turnsStayShort(),
};
const world = { cpu: cpus()[0]?.model, cores: cpus().length, loadAtStart, loadAtEnd: loadavg() };
const times = { startedAt: startedAt.toISOString(), finishedAt: new Date().toISOString() };
console.log(
  JSON.stringify({ kind: "attack", ...times, ...world, bounds, silence, unfinished, bodies, resets }, null, 2),
);
process.exit(Object.values(bounds).includes(false) ? 1 : 0);

/** A machine whose turns are slow without an attack, too, can't tell. */
function turnsStayShort(): boolean | "inconclusive: the machine is busy" {
  if (all.every(({ attacked }) => attacked.maxMs < 250)) return true;
  return all.some(({ idle }) => idle.maxMs > 50) ? "inconclusive: the machine is busy" : false;
}

async function silentConnections() {
  const limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", ...kakeya];
  const webDoors = freeAddresses(2);
  const [http = "", metrics = ""] = webDoors;
  await using server = await serve(limited, "--http", http, "--metrics-port", metrics.split(":")[1] ?? "");
  const before = descriptors(server.pid);
  let cpuShare = 0;
  let newClientAnswered = true;
  for (const door of [server.address, ...webDoors]) {
    const silent = await Promise.all(Array.from({ length: 70 }, () => openSocket(door)));
    const cpuBeforeS = cpuSeconds(server.pid);
    await Bun.sleep(3000);
    cpuShare = Math.max(cpuShare, (cpuSeconds(server.pid) - cpuBeforeS) / 3);
    newClientAnswered &&= await answers(server.address);
    for (const web of webDoors) newClientAnswered &&= await answersHttp(web);
    for (const socket of silent) socket.destroy();
  }

  // They greet, never answer a ping, and keep their side open: the server closes after 20 s + 10 s, and 2 s later for good.
  const deaf = await Promise.all(Array.from({ length: 10 }, () => openHalf(server.address)));
  await Bun.sleep(36_000);
  const descriptorsLeftToThePeer = Math.max(0, descriptors(server.pid) - before);
  for (const socket of deaf) socket.destroy();
  const logged = readFileSync(server.logPath, "utf8")
    .split("\n")
    .filter((line) => line.includes("connections"));
  return { newClientAnswered, cpuShare, descriptorsLeftToThePeer, logged };
}

async function unfinishedRequests(headers: Record<string, string>) {
  await using server = await serve(kakeya, "--token-file", join(folder, "token"), "--metrics-port", "0");
  const [, metricsUrl = ""] = /"(http:[^"]+)"/.exec(readFileSync(server.logPath, "utf8")) ?? [];
  const before = residentBytes(server.pid);
  const session = connectHttp2(`http://${server.address}`);
  session.on("error", () => {});
  const request = Buffer.concat([Buffer.from([0]), uint32(4 * 2 ** 20), Buffer.alloc(4 * 2 ** 20 - 1)]);
  for (let i = 0; i < 250; i++) {
    const call = { ":method": "POST", ":path": appendTokens, "content-type": "application/grpc", te: "trailers" };
    const stream = session.request({ ...call, ...headers }, { endStream: false });
    stream.on("error", () => {}).resume();
    stream.write(request);
  }
  let most = before;
  let keptBytes = 0;
  for (const endsAt = performance.now() + 10_000; performance.now() < endsAt; await Bun.sleep(20)) {
    most = Math.max(most, residentBytes(server.pid));
    const page = await (await fetch(metricsUrl)).text();
    // A server that doesn't say bounds nothing.
    const kept = /^kakeya_unfinished_request_bytes (\d+)$/m.exec(page)?.[1];
    keptBytes = Math.max(keptBytes, kept === undefined ? Number.MAX_SAFE_INTEGER : Number(kept));
  }
  const othersAnswered = await answers(server.address, { token });
  session.destroy();
  return { beforeBytes: before, mostBytes: most, grewBytes: most - before, keptBytes, othersAnswered };
}

async function unfinishedBodies(headers: Record<string, string>) {
  const [http = ""] = freeAddresses(1);
  await using server = await serve(kakeya, "--token-file", join(folder, "token"), "--http", http);
  const before = residentBytes(server.pid);
  const lines = ["POST /v1/responses HTTP/1.1", `Host: ${http}`, `Content-Length: ${4 * 2 ** 20}`];
  const head = [...lines, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n");
  const body = Buffer.alloc(4 * 2 ** 20 - 1, 0x20);
  const sockets = await Promise.all(Array.from({ length: 250 }, () => openSocket(http)));
  for (const socket of sockets) {
    socket.resume().write(head);
    socket.write(body);
  }
  let most = before;
  for (const endsAt = performance.now() + 10_000; performance.now() < endsAt; await Bun.sleep(20)) {
    most = Math.max(most, residentBytes(server.pid));
  }
  const othersAnswered = (await answers(server.address, { token })) && (await answersHttp(http));
  for (const socket of sockets) socket.destroy();
  return { beforeBytes: before, mostBytes: most, grewBytes: most - before, othersAnswered };
}

async function resetBursts(headers: Record<string, string>, connections: number) {
  await using server = await serve(kakeya, "--token-file", join(folder, "token"));
  using client = new Client(server.address, { token, retryS: 0 });
  const session = await client.createSession();
  const idle = await turnsWhile(session, Bun.sleep(3000));
  const block = callHeaders(appendTokens, headers);
  const stream = (i: number) =>
    Buffer.concat([
      frame(frameType.headers, endHeaders, 2 * i + 1, block),
      frame(frameType.resetStream, 0, 2 * i + 1, uint32(8)),
    ]);
  const burst = opening(...Array.from({ length: 20_000 }, (_, i) => stream(i)));
  const attacking = async (rounds: number) => {
    for (let round = 0; round < rounds; round++) {
      const sockets = await Promise.all(Array.from({ length: connections }, () => openSocket(server.address)));
      for (const socket of sockets) socket.resume().write(burst);
      await Bun.sleep(2000);
      for (const socket of sockets) socket.destroy();
    }
  };
  const attacked = await turnsWhile(session, attacking(5));
  // Without turns beside it: what it costs the server itself, which is not a matter of the machine's load.
  const cpuBeforeS = cpuSeconds(server.pid);
  await attacking(1);
  const cpuOfOneMs = Math.round((cpuSeconds(server.pid) - cpuBeforeS) * 1000);
  return { cpuOfOneMs, attacked, idle, othersAnswered: await answers(server.address, { token }) };
}

/** Turns of 4 tokens in and 4 out, one after the other, until `work` is done. */
async function turnsWhile(session: Awaited<ReturnType<Client["createSession"]>>, work: Promise<unknown>) {
  const latenciesMs: number[] = [];
  let working = true;
  void work.finally(() => {
    working = false;
  });
  while (working) {
    const startedAtMs = performance.now();
    await session.append([1, 2, 3, 4]);
    await Array.fromAsync(session.generate({ maxTokens: 4 }));
    latenciesMs.push(performance.now() - startedAtMs);
  }
  const at = (rank: number) => percentile(latenciesMs, rank);
  return { turns: latenciesMs.length, p50Ms: at(0.5) ?? 0, p99Ms: at(0.99) ?? 0, maxMs: at(1) ?? 0 };
}

async function serve(command: string[], ...flags: string[]) {
  const logPath = join(folder, `${crypto.randomUUID()}.log`);
  const { address, pid, stop } = await OwnServer.start({ kakeya: command, flags, logPath }).then((server) => ({
    address: server.address,
    pid: server.pid,
    stop: () => server.stop(),
  }));
  return { address, pid, logPath, [Symbol.asyncDispose]: stop };
}

/** Whether a client that comes now is answered within 5 s. */
async function answers(address: string, options: ClientOptions = {}): Promise<boolean> {
  using client = new Client(address, { retryS: 0, ...options });
  return await client.runtimeInfo({ signal: AbortSignal.timeout(5000) }).then(
    () => true,
    () => false,
  );
}

/** host:port where nobody listens at this moment. */
function freeAddresses(count: number): string[] {
  const listeners = Array.from({ length: count }, () =>
    Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } }),
  );
  const addresses = listeners.map(({ port }) => `127.0.0.1:${port}`);
  for (const listener of listeners) listener.stop(true);
  return addresses;
}

/** Whether an HTTP door answers a request that comes now within 5 s, whatever it says. */
async function answersHttp(address: string): Promise<boolean> {
  return await fetch(`http://${address}/health`, { signal: AbortSignal.timeout(5000), keepalive: false }).then(
    ({ status }) => status > 0,
    () => false,
  );
}

function openHalf(address: string): Promise<Socket> {
  const [host = "", port = ""] = address.split(":");
  return new Promise((opened) => {
    const socket = connect({ host, port: Number(port), allowHalfOpen: true }, () => {
      socket.write(opening());
      opened(socket);
    });
    socket.on("error", () => {}).resume();
  });
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function residentBytes(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** User and system time; 100 ticks a second on every Linux. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
