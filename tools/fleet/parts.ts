/** What a trial does to a fleet, and what must hold meanwhile. */

import { Client, type Session } from "../../src/client/index.ts";
import { commitRate, countsOf, sizesOf } from "./database-costs.ts";
import { Fleet, type FleetOptions } from "./fleet.ts";
import { talkOverHttp } from "./http-chains.ts";
import { Load, type LoadResult } from "./load.ts";
import { routingOf, servedBy } from "./misses.ts";
import type { ProxyKind } from "./processes.ts";
import type { Expected } from "./script.ts";
import { takeoversOf } from "./takeovers.ts";

export interface TrialOptions {
  durationS: number;
  sessions: number;
  thinkS: number;
  leaseS: number;
  /** From one kill or restart to the next. */
  everyS: number;
  expected: Expected;
}

export interface PartResult {
  passed: boolean;
  load?: LoadResult;
  [measured: string]: unknown;
}

type Part = (proxy: ProxyKind, options: TrialOptions) => Promise<PartResult>;

export const partNames = ["routing", "http", "kill", "pause", "rolling", "faults", "disk", "database"] as const;
export type PartName = (typeof partNames)[number];

export const parts: Record<PartName, Part> = { routing, http, kill, pause, rolling, faults, disk, database };

/** Nothing happens: each session's calls must reach one server. */
async function routing(proxy: ProxyKind, options: TrialOptions): Promise<PartResult> {
  await using fleet = await Fleet.start(fleetOptions(proxy, options));
  const load = await loadOf(fleet, options).run(() => sleep(options.durationS));
  const routed = routingOf(servedBy(fleet.servers));
  return { passed: isClean(load) && routed.misses === 0, load, routing: routed };
}

/** Chains of responses, which only the server that began them knows. */
async function http(proxy: ProxyKind, options: TrialOptions): Promise<PartResult> {
  await using fleet = await Fleet.start(fleetOptions(proxy, options));
  const talk = (isOwn: boolean) => talkOverHttp(fleet.proxy.httpUrl, options.sessions, options.durationS / 2, isOwn);
  const own = await talk(true);
  // A hash alone knows nothing of an id that a server chose.
  const servers = proxy === "haproxy" ? await talk(false) : undefined;
  const passed = [own, servers].every((result) => Object.keys(result?.errors ?? {}).length === 0);
  return { passed, ids_of_clients: own, ...(servers && { ids_of_servers: servers }) };
}

/** One server after the other is killed, and comes back once the others have had the time to take its sessions. */
async function kill(proxy: ProxyKind, options: TrialOptions): Promise<PartResult> {
  const { durationS, everyS, leaseS } = options;
  await using fleet = await Fleet.start(fleetOptions(proxy, options));
  const work = loadOf(fleet, options);
  const kills: { server: string; atS: number }[] = [];
  const load = await work.run(async () => {
    for (let next = everyS; next < durationS; next += everyS) {
      await sleep(next - work.nowS());
      const server = fleet.servers[kills.length % fleet.servers.length];
      if (server === undefined) throw new Error("a fleet without servers");
      kills.push({ server: server.name, atS: work.nowS() });
      await server.kill();
      await sleep(Math.min(leaseS + 4, everyS / 2));
      await server.start();
    }
    await sleep(Math.max(durationS - work.nowS(), leaseS + 4));
  });
  const served = servedBy(fleet.servers);
  const takeovers = takeoversOf({ kills, turns: work.turns, served, startedAtMs: work.startedAtMs, leaseS });
  const passed = isClean(load) && takeovers.every(({ latest_after_lease_s }) => latest_after_lease_s <= 2);
  return { passed, load, takeovers, routing: routingOf(served) };
}

/** A server is stopped in the middle of answers for longer than its lease, and goes on: it must not commit an id. */
async function pause(proxy: ProxyKind, options: TrialOptions): Promise<PartResult> {
  await using fleet = await Fleet.start(fleetOptions(proxy, options));
  const [server] = fleet.servers;
  if (server === undefined) throw new Error("a fleet without servers");
  const { postgres } = fleet;
  const work = loadOf(fleet, options);
  using direct = new Client(server.address, { retryS: 0 });
  let held: Record<string, unknown>[] = [];
  const load = await work.run(async () => {
    await sleep(Math.max(3, options.durationS / 3));
    const answers = await Promise.all(Array.from({ length: 5 }, () => longAnswer(direct)));
    await sleep(1);
    server.signal("SIGSTOP");
    await sleep(options.leaseS + 3);
    const ids = answers.map(({ session }) => `'${session.id}'`).join(", ");
    const journaled = () => postgres.rows(`${journalOfSessions} WHERE s.id IN (${ids})`);
    const before = await journaled();
    server.signal("SIGCONT");
    await Promise.all(answers.map(({ ended }) => ended));
    await sleep(Math.max(5, options.durationS / 3));
    const after = await journaled();
    held = answers.map(({ session, heard, how }) => {
      const idsOf = (rows: Record<string, unknown>[]) => Number(rows.find(({ id }) => id === session.id)?.ids);
      const journal = { ids_while_stopped: idsOf(before), ids_afterwards: idsOf(after) };
      return { ...journal, heard: heard() + 1, ended_with: how() };
    });
  });
  // What was heard is all there, and nothing came to it.
  const isFenced = held.every(
    ({ ids_while_stopped, ids_afterwards, heard }) =>
      ids_while_stopped === ids_afterwards && Number(heard) <= Number(ids_afterwards),
  );
  return { passed: isClean(load) && held.length > 0 && isFenced, load, journals_of_answers_under_way: held };
}

/** Counted from the rows of the journal themselves. */
const journalOfSessions = `SELECT s.id, (SELECT sum(length(j.ids)) / 4 FROM kakeya.journal j WHERE j.session = s.key) AS ids
  FROM kakeya.sessions s`;

/** An answer that is never over by itself; nobody else asks for its session. */
async function longAnswer(client: Client): Promise<{
  session: Session;
  heard: () => number;
  how: () => string;
  ended: Promise<void>;
}> {
  const session = await client.createSession({ label: "held" });
  await session.append([1]);
  let heard = 0;
  let how = "its end";
  const answer = (async () => {
    try {
      for await (const _ of session.generate({ maxTokens: 2 ** 31 })) heard++;
      how = `done ${session.lastResult?.stopReason}`;
    } catch (error) {
      how = error instanceof Error ? error.message : String(error);
    }
  })();
  return { session, heard: () => heard, how: () => how, ended: answer };
}

/** SIGTERM for one server after the other: no client may notice. */
async function rolling(proxy: ProxyKind, options: TrialOptions): Promise<PartResult> {
  await using fleet = await Fleet.start(fleetOptions(proxy, options));
  const work = loadOf(fleet, options);
  let restarts = 0;
  const load = await work.run(async () => {
    await sleep(3);
    do {
      for (const server of fleet.servers) {
        await server.stop();
        await server.start();
        restarts++;
        await sleep(5);
      }
    } while (work.nowS() < options.durationS);
  });
  return { passed: isClean(load), load, restarts, routing: routingOf(servedBy(fleet.servers)) };
}

/** The database, and then the proxy, is restarted under load. */
async function faults(proxy: ProxyKind, options: TrialOptions): Promise<PartResult> {
  await using fleet = await Fleet.start(fleetOptions(proxy, options));
  const work = loadOf(fleet, options);
  const load = await work.run(async () => {
    await sleep(options.durationS / 3);
    await fleet.postgres.stop();
    await sleep(3);
    await fleet.postgres.startAgain();
    await sleep(options.durationS / 3);
    await fleet.proxy.kill();
    await sleep(1);
    await fleet.proxy.startAgain();
    await sleep(options.durationS / 3);
  });
  return { passed: isClean(load), load, routing: routingOf(servedBy(fleet.servers)) };
}

/** The disk of the database's tables is full for a while: calls are refused, and nothing that was heard is lost. */
async function disk(proxy: ProxyKind, options: TrialOptions): Promise<PartResult> {
  await using fleet = await Fleet.start(fleetOptions(proxy, options, { diskBytes: 256 << 20 }));
  const work = loadOf(fleet, options, { goesOn: true });
  let refusedWhileFull = 0;
  let endedAfterwards = 0;
  const load = await work.run(async () => {
    await sleep(options.durationS / 3);
    fleet.postgres.fillDisk();
    await sleep(options.durationS / 3);
    refusedWhileFull = work.turns.filter(({ error }) => error?.startsWith("ResourceExhausted")).length;
    fleet.postgres.freeDisk();
    const freedS = work.nowS();
    await sleep(options.durationS / 3);
    endedAfterwards = work.turns.filter(({ error, endedS }) => error === undefined && endedS > freedS).length;
  });
  const isAsDocumented = Object.keys(load.errors).every((error) => error.startsWith("ResourceExhausted"));
  const passed = load.faults.length === 0 && isAsDocumented && refusedWhileFull > 0 && endedAfterwards > 0;
  return { passed, load, refused_while_full: refusedWhileFull, turns_afterwards: endedAfterwards };
}

/** Nothing happens, and the database is asked what that took. */
async function database(proxy: ProxyKind, options: TrialOptions): Promise<PartResult> {
  await using fleet = await Fleet.start(fleetOptions(proxy, options));
  const { postgres, servers } = fleet;
  const work = loadOf(fleet, options);
  const before = await countsOf(postgres);
  const load = await work.run(() => sleep(options.durationS));
  const seconds = work.nowS();
  // Its statistics come with a delay.
  await sleep(2);
  const after = await countsOf(postgres);
  const sizes = await sizesOf(postgres);
  const ids = after.ids - before.ids;
  const costs = {
    ids_a_second: ids / seconds,
    transactions_a_second: (after.transactions - before.transactions) / seconds,
    wal_bytes_an_id: (after.walBytes - before.walBytes) / ids,
    journal_bytes_an_id: (sizes.journal_bytes ?? Number.NaN) / (sizes.ids ?? Number.NaN),
    connections_a_server: (sizes.connections ?? Number.NaN) / servers.length,
    snapshot_bytes_a_session: sizes.snapshot_bytes_a_session,
  };
  for (const server of servers) await server.stop();
  const afterParking = await sizesOf(postgres);
  const commits_a_second: Record<string, number> = {};
  for (const writers of [1, 3, 8, 32])
    commits_a_second[`${writers} writers`] = await commitRate(postgres, writers, 8, 5);
  return { passed: isClean(load), load, costs, all_parked: afterParking, commits_a_second };
}

function fleetOptions(proxy: ProxyKind, options: TrialOptions, more: Partial<FleetOptions> = {}): FleetOptions {
  // One server may have to hold nearly all sessions while the others are away.
  return { proxy, leaseS: options.leaseS, capacity: options.sessions, ...more };
}

function loadOf(fleet: Fleet, { sessions, thinkS, expected }: TrialOptions, more: { goesOn?: boolean } = {}): Load {
  return new Load({ address: fleet.proxy.address, sessions, thinkS, expected, retryS: 30, ...more });
}

function isClean({ failed, faults }: LoadResult): boolean {
  return failed === 0 && faults.length === 0;
}

function sleep(seconds: number): Promise<void> {
  return Bun.sleep(Math.max(0, seconds) * 1000);
}
