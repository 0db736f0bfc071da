import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Channel, ChannelCredentials, credentials, Client as GrpcClient } from "@grpc/grpc-js";
import fc from "fast-check";
import { createClient } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import type { Engine } from "../../src/engine/engine.ts";
import { createLog, type LogFields } from "../../src/host/log.ts";
import { type MetricsPage, serveMetrics } from "../../src/host/metrics-page.ts";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";
import { type Serving, serving, testEngine } from "./serving.ts";
import { dial, statusOf, stream } from "./wire.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await testEngine({ capacity: 2 });
});
afterAll(() => engine.close());

describe("metrics", () => {
  /** Each sample's line, by its name and labels. */
  async function scrape(page: MetricsPage): Promise<Map<string, number>> {
    const lines = (await (await fetch(page.url)).text()).split("\n").filter((line) => line !== "" && line[0] !== "#");
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
  }

  async function measured(use: (server: Serving, page: MetricsPage) => Promise<void>): Promise<Map<string, number>> {
    await using server = await serving({ engine });
    const page = await serveMetrics(server.server, 0);
    await use(server, page);
    const samples = await scrape(page);
    await page.close();
    return samples;
  }

  test("count sessions, tokens, calls and latencies", async () => {
    const samples = await measured(async (server) => {
      const client = server.connect();
      const session = await client.createSession();
      await session.append(Array.from({ length: 100 }, (_, i) => i));
      await Array.fromAsync(session.generate({ maxTokens: 5 }));
      await (await client.createSession()).close();
      await client.createSession();
      await client.createSession();
      const another = await client.createSession();
      await another.append([1, 2, 3]);
      await rejection(session.info());
    });
    const method = (type: string, name: string) =>
      `grpc_type="${type}",grpc_service="kakeya.v1.RuntimeService",grpc_method="${name}"`;
    expect(Object.fromEntries(samples)).toMatchObject({
      kakeya_session_active: 2,
      kakeya_session_capacity: 2,
      'kakeya_session_total{outcome="closed"}': 1,
      'kakeya_session_total{outcome="evicted"}': 2,
      'kakeya_session_evicted_total{reason="capacity"}': 2,
      'kakeya_session_evicted_total{reason="idle"}': 0,
      'kakeya_cache_invariant_violations_total{kind="inv1"}': 0,
      'kakeya_cache_invariant_violations_total{kind="inv2"}': 0,
      kakeya_session_history_tokens: 3,
      kakeya_session_kv_live_bytes: 3 * engine.info.kvBytesPerToken,
      kakeya_prompt_tokens_total: 103,
      kakeya_generation_tokens_total: 5,
      'kakeya_request_success_total{finished_reason="length"}': 1,
      kakeya_generate_prefill_tokens_sum: 103,
      kakeya_generate_prefill_tokens_count: 2,
      kakeya_generate_prefill_duration_seconds_count: 2,
      kakeya_time_to_first_token_seconds_count: 1,
      kakeya_inter_token_latency_seconds_count: 4,
      kakeya_num_requests_running: 0,
      kakeya_num_requests_waiting: 0,
      kakeya_connections: 2, // The client's, and the one that asks for this page.
      kakeya_unfinished_request_bytes: 0,
      [`grpc_server_started_total{${method("unary", "CreateSession")}}`]: 5,
      [`grpc_server_handled_total{${method("unary", "CreateSession")},grpc_code="OK"}`]: 5,
      [`grpc_server_handled_total{${method("unary", "GetSessionInfo")},grpc_code="NotFound"}`]: 1,
      [`grpc_server_handled_total{${method("server_stream", "Generate")},grpc_code="OK"}`]: 1,
      [`grpc_server_handling_seconds_count{${method("server_stream", "Generate")}}`]: 1,
      [`grpc_server_msg_received_total{${method("server_stream", "Generate")}}`]: 1,
      // Five ids, the tokens that left the window, and done.
      [`grpc_server_msg_sent_total{${method("server_stream", "Generate")}}`]: 7,
      // Never called, and known: a rate over it is 0.
      [`grpc_server_handled_total{${method("unary", "GetRuntimeInfo")},grpc_code="OK"}`]: 0,
    });
    expect(samples.get("process_resident_memory_bytes")).toBeGreaterThan(10_000_000);
  });

  test("say what runs, and of the process only what is true", async () => {
    const samples = await measured(async () => {});
    const { modelId, fingerprint } = engine.info;
    const model = `model_id="${modelId}",fingerprint="${fingerprint}",quantization="q8",device="cpu",adapter="",sink="4",window="64"`;
    expect(samples.get(`kakeya_model_info{${model}}`)).toBe(1);
    expect(samples.get('kakeya_build_info{version="0.0.0-test",commit="c0ffee"}')).toBe(1);
    const names = [...samples.keys()].map((sample) => sample.replace(/\{.*/, ""));
    for (const name of names) expect(name).toMatch(/^(kakeya_|grpc_server_|process_|nodejs_eventloop_lag_)/);
    // Addresses that are reserved and never touched: 6.5 GB of a process of 0.2 GB.
    expect(names).not.toContain("process_heap_bytes");
    expect(names).not.toContain("process_virtual_memory_bytes");
  });

  test("name no method that a caller made up", async () => {
    const samples = await measured(async (server) => {
      const grpc = new GrpcClient(server.address, credentials.createInsecure());
      const bytes = () => Buffer.alloc(0);
      const call = (path: string) => new Promise((done) => grpc.makeUnaryRequest(path, bytes, bytes, null, done));
      for (let i = 0; i < 3; i++) await call(`/made.up/Method${i}`);
      grpc.close();
    });
    const unknown = 'grpc_type="unary",grpc_service="unknown",grpc_method="unknown"';
    expect(samples.get(`grpc_server_handled_total{${unknown},grpc_code="Unimplemented"}`)).toBe(3);
    expect([...samples.keys()].join()).not.toContain("made");
  });

  test("show what runs and what waits at this moment", async () => {
    await measured(async (server, page) => {
      const session = await server.connect().createSession();
      await session.append([1]);
      const ids = session.generate({ maxTokens: 100_000 });
      await ids.next();
      const waiting = session.append([1]);
      await eventually("a call that waits", () => server.server.store.queueDepth > 0 || undefined);
      const samples = await scrape(page);
      expect(samples.get("kakeya_num_requests_running")).toBe(2);
      expect(samples.get("kakeya_num_requests_waiting")).toBeGreaterThanOrEqual(1);
      await ids.return();
      await waiting;
    });
  });

  test("count a violated invariant by its kind", async () => {
    const samples = await measured(async (server) => {
      using wire = dial(server.address);
      const { sessionId } = await wire.rpc.createSession({});
      await wire.rpc.appendTokens({ sessionId, tokenIds: [1, 2, 3] });
      const [session] = server.server.store.sessions;
      await engine.corrupt(session?.sequence ?? 0);
      expect(await statusOf(stream(wire.rpc, { sessionId, maxTokens: 1 }))).toBe("FAILED_PRECONDITION");
      expect(await statusOf(wire.rpc.getSessionInfo({ sessionId }))).toBe("NOT_FOUND");
      expect(server.logged.some((line) => line.includes("INV-1 violated"))).toBe(true);
    });
    expect(samples.get('kakeya_cache_invariant_violations_total{kind="inv1"}')).toBe(1);
    expect(samples.get('kakeya_session_total{outcome="violated"}')).toBe(1);
  });

  test("are one page, on a port of their own", async () => {
    await using server = await serving({ engine });
    const page = await serveMetrics(server.server, 0);
    const { status, headers } = await fetch(page.url);
    expect(status).toBe(200);
    expect(headers.get("content-type")).toContain("version=0.0.4");
    expect((await fetch(new URL("/", page.url))).status).toBe(404);
    expect((await fetch(page.url, { method: "POST" })).status).toBe(404);
    const taken = Number(new URL(page.url).port);
    expect((await rejection(serveMetrics(server.server, taken))).message).toContain(`--metrics-port ${taken}: `);
    await page.close();
  });
});

describe("health", () => {
  const service = "kakeya.v1.RuntimeService";

  test("answers for the server and the service, also without the token, and changes while it drains", async () => {
    const server = await serving({ engine, token: "secret", shutdownGraceS: 10 });
    const channel = new Channel(server.address, ChannelCredentials.createInsecure(), {});
    const health = createClient(HealthDefinition, channel);
    const serves = (status: number) => ({ status });
    expect(await health.check({ service: "" })).toEqual(serves(1));
    expect(await health.check({ service })).toEqual(serves(1));
    expect(await statusOf(health.check({ service: "nope" }))).toBe("NOT_FOUND");

    const client = server.connect({ token: "secret" });
    const session = await client.createSession();
    await session.append([1]);
    const ids = session.generate({ maxTokens: 100_000 });
    await ids.next();
    const seen: number[] = [];
    const watching = statusOf(
      (async () => {
        for await (const { status } of health.watch({ service })) seen.push(status);
      })(),
    );
    await eventually("the first status", () => seen.length > 0 || undefined);
    const stopped = server.server.stop();
    await eventually("the second status", () => seen.length > 1 || undefined);
    expect(await health.check({ service: "" })).toEqual(serves(2));
    expect(await health.check({ service })).toEqual(serves(2));
    await ids.return();
    await stopped;
    expect(await watching).toBe("UNAVAILABLE");
    expect(seen).toEqual([1, 2]);
    channel.close();
    await server[Symbol.asyncDispose]();
  });
});

describe("the log", () => {
  const lines = (format: "text" | "json", level: "info" | "error") => {
    const written: string[] = [];
    const now = () => new Date("2026-01-02T03:04:05.678Z");
    const log = createLog({ format, level, now, write: (line) => written.push(line) });
    log.debug("a detail");
    log.info("it happened", { name: 'with "quotes"\n', count: 2, missing: undefined });
    log.error("it broke");
    return written.join("");
  };

  function lineOf(format: "text" | "json", fields: LogFields): string {
    let written = "";
    const write = (line: string) => {
      written += line;
    };
    createLog({ format, level: "info", now: () => new Date(0), write }).info("it happened", fields);
    return written;
  }

  test("is one line a message, at or above its level", () => {
    expect(lines("text", "info")).toBe(
      '2026-01-02T03:04:05.678Z info it happened name="with \\"quotes\\"\\n" count=2\n2026-01-02T03:04:05.678Z error it broke\n',
    );
    expect(lines("text", "error")).toBe("2026-01-02T03:04:05.678Z error it broke\n");
  });

  test("is JSON when asked for", () => {
    expect(
      lines("json", "info")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { time: "2026-01-02T03:04:05.678Z", level: "info", message: "it happened", name: 'with "quotes"\n', count: 2 },
      { time: "2026-01-02T03:04:05.678Z", level: "error", message: "it broke" },
    ]);
  });

  test("rounds fractions to what anyone reads, and leaves counts alone", () => {
    expect(lineOf("text", { duration_s: 0.012345678901234567, count: 123_456_789 })).toEndWith(
      " duration_s=0.01235 count=123456789\n",
    );
    expect(JSON.parse(lineOf("json", { duration_s: 0.1 + 0.2 }))).toMatchObject({ duration_s: 0.3 });
  });

  test.each(["text", "json"] as const)("as %s never sends a terminal a command, whatever clients say", (format) => {
    const hostile = fc.string({
      unit: fc.constantFrom("\u001b", "\u007f", "\u009b", "\u202e", "\u2028", "\u2067", "é", "\n"),
    });
    fc.assert(
      fc.property(hostile, (label) => {
        const line = lineOf(format, { label });
        expect(line).toMatch(/^[\x20-\x7eé]*\n$/);
        if (format === "json") expect(JSON.parse(line).label).toBe(label);
      }),
      { seed: 20260102 },
    );
  });

  test("has one line for an eviction, with its reason", async () => {
    await using server = await serving({ engine, capacity: 2 });
    const client = server.connect();
    for (const label of ["first", "second", "third"]) await client.createSession({ label });
    const lines = server.logged.filter((line) => line.includes('label="first"') && !line.includes("created"));
    expect(lines).toEqual([expect.stringMatching(/info session evicted .* reason="capacity" history_tokens=0\n$/)]);
  });

  test("names the session of a call by the start of its id", async () => {
    await using server = await serving({ engine });
    const session = await server.connect().createSession();
    await session.append([1]);
    await Array.fromAsync(session.generate({ maxTokens: 1 }));
    await session.close();
    const calls = server.logged.filter((line) => line.includes("debug call "));
    const of = (method: string) => calls.find((line) => line.includes(`method="${method}"`));
    for (const method of ["CreateSession", "AppendTokens", "Generate", "CloseSession"]) {
      expect(of(method)).toContain(` session="${session.id.slice(0, 8)}" `);
    }
    expect(server.logged.join("")).not.toContain(session.id);
  });

  test("holds every call at level debug, without token or session id", async () => {
    await using server = await serving({ engine, token: "s3cret" });
    const session = await server.connect({ token: "s3cret" }).createSession();
    await rejection(server.connect({ token: "wr0ng" }).runtimeInfo());
    await session.close();
    const log = server.logged.join("");
    expect(log).toMatch(
      /debug call method="CloseSession" session="[^"]{8}" code="OK" duration_s=[\d.]+ peer="127.0.0.1:\d+"/,
    );
    expect(log).toContain('code="UNAUTHENTICATED"');
    for (const secret of ["s3cret", "wr0ng", session.id]) expect(log).not.toContain(secret);
  });
});
