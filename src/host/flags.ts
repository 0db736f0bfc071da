/** The flags of `serve`, and what they mean. */

import type { ArgsDef, ParsedArgs } from "citty";
import { UsageError } from "../cli/exit.ts";
import { bytes, duration, formatBytes, formatDuration, integer } from "../cli/units.ts";
import type { EngineOptions } from "../engine/engine.ts";
import { parseBind, parseTcpBind } from "./bind.ts";
import { logFormats, logLevels } from "./log.ts";
import {
  defaultHttpBind,
  defaultStateLeaseS,
  defaultStateWaitS,
  defaultEngineOptions as engine,
  type ServerOptions,
  type StateDatabase,
  type StateOptions,
  defaultServerOptions as server,
  storedSessionTtlS,
} from "./options.ts";

/** The flags that choose the model and what it keeps; `bench` and `smoke` take them for a server of their own. */
export const modelFlags = {
  model: {
    type: "string",
    description: "A Hugging Face directory, or an id in the local hub cache; without it, the embedded model",
    valueHint: "dir|id",
  },
  quant: {
    type: "enum",
    description: "How weights are held",
    options: ["q8", "q4", "f32"],
    default: engine.quantization,
  },
  device: {
    type: "enum",
    description: "What runs the model; auto: the processor",
    options: ["cpu", "gpu", "auto"],
    default: "auto",
  },
  kv: {
    type: "enum",
    description: "How each session's keys and values are held; auto: what is faster for the window",
    options: ["f32", "q8", "auto"],
    default: engine.kv,
  },
  sink: {
    type: "string",
    description: "First tokens that every session keeps",
    valueHint: "tokens",
    default: String(engine.sink),
  },
  window: {
    type: "string",
    description:
      "Last tokens that every session keeps; without it, what suits the model: 64 for the embedded one, 1024 for others",
    valueHint: "tokens",
  },
  threads: {
    type: "string",
    description: "Threads of the engine; without it, chosen from machine and model",
    valueHint: "count",
  },
  draft: {
    type: "enum",
    description: "Guess the next ids from the session's own history: changes speed, never ids",
    options: ["auto", "off"],
    default: "auto",
  },
} as const satisfies ArgsDef;

export const serveFlags = {
  ...modelFlags,
  bind: {
    type: "string",
    description: "Where to listen; port 0 takes any free one",
    valueHint: "host:port|unix:/path",
    default: server.bind,
  },
  http: {
    type: "string",
    description:
      "Where to serve OpenAI's clients and browsers, or off; without it 127.0.0.1:8051, if that port is free",
    valueHint: "host:port|off",
  },
  "http-origin": {
    type: "string",
    description: "Origins of other sites whose pages may call --http, such as https://chat.example.org",
    valueHint: "origin,...",
  },
  capacity: {
    type: "string",
    description: "Sessions in memory; one more takes the place of an idle session (which --state parks), or is refused",
    valueHint: "sessions",
    default: String(engine.capacity),
  },
  "session-ttl": {
    type: "string",
    description: `Idle time after which a session is evicted, 0: never; without it ${formatDuration(server.sessionTtlS)}, with --state 30d`,
    valueHint: "time",
  },
  state: {
    type: "string",
    description:
      "Where sessions outlive the server: a folder, or a Postgres database for several servers (or KAKEYA_STATE); without it they end with it",
    valueHint: "dir|postgres://...",
  },
  "state-password-file": {
    type: "string",
    description: "File with the password of --state postgres://... (or PGPASSWORD)",
    valueHint: "path",
  },
  "state-lease": {
    type: "string",
    description: "Time after which other servers take the sessions of one that does not answer",
    valueHint: "time",
    default: formatDuration(defaultStateLeaseS),
  },
  "state-wait": {
    type: "string",
    description: "How long a call waits for the database, or for the server that has its session",
    valueHint: "time",
    default: formatDuration(defaultStateWaitS),
  },
  "server-name": {
    type: "string",
    description: "How the errors of other servers call this one; without it, its process and host",
    valueHint: "name",
  },
  sync: {
    type: "enum",
    description: "What the sessions in --state survive. normal: a killed server; full: a power cut, too",
    options: ["normal", "full"],
    default: "normal",
  },
  "keep-ids": {
    type: "string",
    description: "Keep at least this many last ids of each session in --state, 4 bytes each; without it all of them",
    valueHint: "tokens",
  },
  rebuild: {
    type: "boolean",
    description: "Compute the sessions in --state again if another model or other options computed them",
    default: false,
  },
  evict: {
    type: "enum",
    description:
      "Which session makes room at capacity: one idle for --evict-after, or always the least recently active one",
    options: ["idle", "lru"],
    default: "idle",
  },
  "evict-after": {
    type: "string",
    description: "Idle time after which a session may make room for a new one",
    valueHint: "time",
    default: formatDuration(server.evictAfterS),
  },
  "shutdown-grace": {
    type: "string",
    description: "Time for calls in flight after SIGTERM or SIGINT",
    valueHint: "time",
    default: formatDuration(server.shutdownGraceS),
  },
  "token-file": {
    type: "string",
    description: "File with the bearer token that clients must send (or KAKEYA_TOKEN)",
    valueHint: "path",
  },
  token: {
    type: "string",
    description:
      "The token itself; other users can see it in the list of processes, so prefer the file or KAKEYA_TOKEN",
    valueHint: "secret",
  },
  "tls-cert": { type: "string", description: "Certificate chain, to serve TLS", valueHint: "pem" },
  "tls-key": { type: "string", description: "Private key of --tls-cert", valueHint: "pem" },
  "tls-client-ca": {
    type: "string",
    description: "Authority that clients' certificates must come from",
    valueHint: "pem",
  },
  "metrics-port": {
    type: "string",
    description: "Prometheus /metrics on this loopback port (0: any free one)",
    valueHint: "port",
  },
  "max-append-tokens": {
    type: "string",
    description: "Most token ids in one AppendTokens",
    valueHint: "tokens",
    default: String(server.maxAppendTokens),
  },
  "max-request-bytes": {
    type: "string",
    description: "Largest request",
    valueHint: "size",
    default: formatBytes(server.maxRequestBytes).replace(" ", ""),
  },
  "max-connections": {
    type: "string",
    description: "Connections at once; those that made no call yet make room for new ones",
    valueHint: "connections",
    default: String(server.maxConnections),
  },
  "log-level": {
    type: "enum",
    description: "Messages below this level are left out",
    options: [...logLevels],
    default: "info",
  },
  "log-format": { type: "enum", description: "Log lines on stderr", options: [...logFormats], default: "text" },
  json: {
    type: "boolean",
    description: "Print one line of JSON when the server is ready, for programs",
    default: false,
  },
  "stop-with-stdin": { type: "boolean", description: "Stop when the standard input ends", default: false },
} as const satisfies ArgsDef;

/** What the command line says, without the token, which may also come from elsewhere. */
export interface ServeOptions {
  engine: EngineOptions;
  server: Omit<Partial<ServerOptions>, "token">;
  metricsPort?: number;
  state?: StateOptions;
}

/**
 * @param stateOfEnvironment where sessions outlive the server if no flag says so
 * @throws {UsageError} for a value that no server takes. Reads no file.
 */
export function serveOptions(args: ParsedArgs<typeof serveFlags>, stateOfEnvironment?: string): ServeOptions {
  const { model, window, threads, "metrics-port": metricsPort, "session-ttl": ttl } = args;
  const state = stateOptions(args, args.state ?? stateOfEnvironment);
  const tls = tlsFiles(args["tls-cert"], args["tls-key"], args["tls-client-ca"]);
  parseBind(args.bind);
  return {
    engine: {
      quantization: args.quant,
      // auto will be the GPU where somebody has measured it to be faster.
      device: args.device === "gpu" ? "gpu" : "cpu",
      kv: args.kv,
      sink: integer("sink", args.sink, 0, 65_536),
      capacity: integer("capacity", args.capacity, 1, 65_536),
      draft: args.draft === "auto",
      ...(model === undefined ? {} : { model }),
      ...(window === undefined ? {} : { window: integer("window", window, 1, 1_048_576) }),
      ...(threads === undefined ? {} : { threads: integer("threads", threads, 1, 1024) }),
    },
    server: {
      bind: args.bind,
      ...httpOptions(args),
      ...(state === undefined ? {} : { sessionTtlS: storedSessionTtlS }),
      ...(ttl === undefined ? {} : { sessionTtlS: duration("session-ttl", ttl) }),
      evictAfterS: args.evict === "lru" ? 0 : evictAfter(args["evict-after"]),
      shutdownGraceS: duration("shutdown-grace", args["shutdown-grace"]),
      maxAppendTokens: integer("max-append-tokens", args["max-append-tokens"], 1),
      maxRequestBytes: bytes("max-request-bytes", args["max-request-bytes"]),
      maxConnections: integer("max-connections", args["max-connections"], 1, 1_000_000),
      ...(tls === undefined ? {} : { tls }),
    },
    ...(metricsPort === undefined ? {} : { metricsPort: integer("metrics-port", metricsPort, 0, 65_535) }),
    ...(state === undefined ? {} : { state }),
  };
}

function httpOptions({ http, "http-origin": origins }: Partial<Record<"http" | "http-origin", string | undefined>>) {
  if (http === "off" && origins !== undefined) throw new UsageError("--http-origin is about --http, which is off");
  const httpOrigins = origins?.split(",").map(origin) ?? [];
  if (http === "off") return { httpOrigins };
  const bind = http ?? defaultHttpBind;
  parseTcpBind("--http", bind);
  return { http: { bind, isDefault: http === undefined }, httpOrigins };
}

function origin(text: string): string {
  const url = URL.parse(text.trim());
  if (url !== null && /^https?:$/.test(url.protocol) && url.origin === text.trim()) return url.origin;
  throw new UsageError(`--http-origin: "${text.trim()}" is not an origin such as https://chat.example.org`);
}

function evictAfter(text: string): number {
  const idleS = duration("evict-after", text);
  if (idleS > 0) return idleS;
  throw new UsageError(`--evict-after must be longer than 0, not "${text}"; --evict lru evicts without delay`);
}

function stateOptions(args: ParsedArgs<typeof serveFlags>, state: string | undefined): StateOptions | undefined {
  const { sync, "keep-ids": keepIds, rebuild } = args;
  if (state === undefined) {
    const about = [sync !== "normal" && "sync", keepIds !== undefined && "keep-ids", rebuild && "rebuild"];
    refuse(about, "is about --state: add --state DIR or --state postgres://...");
  }
  const isDatabase = state !== undefined && /^postgres(ql)?:\/\//.test(state);
  if (!isDatabase) {
    const changed = (["state-lease", "state-wait"] as const).filter((name) => args[name] !== serveFlags[name].default);
    const given = (["state-password-file", "server-name"] as const).filter((name) => args[name] !== undefined);
    refuse([...changed, ...given], "is about a database: add --state postgres://...");
  }
  if (state === undefined) return undefined;
  const kept = { rebuild, ...(keepIds === undefined ? {} : { keepIds: integer("keep-ids", keepIds) }) };
  return { ...(isDatabase ? database(state, args) : { dir: state, sync }), ...kept };
}

function database(url: string, args: ParsedArgs<typeof serveFlags>): StateDatabase {
  const { "state-password-file": passwordFile, "server-name": serverName } = args;
  const leaseS = duration("state-lease", args["state-lease"]);
  if (leaseS < 1) throw new UsageError(`--state-lease must be 1 s or longer, not "${args["state-lease"]}"`);
  return {
    ...{ url, leaseS, waitS: duration("state-wait", args["state-wait"]) },
    ...(passwordFile === undefined ? {} : { passwordFile }),
    ...(serverName === undefined ? {} : { serverName }),
  };
}

function refuse(flags: readonly (string | false)[], why: string): void {
  const flag = flags.find(Boolean);
  if (flag) throw new UsageError(`--${flag} ${why}`);
}

function tlsFiles(cert: string | undefined, key: string | undefined, clientCa: string | undefined) {
  if (cert === undefined && key === undefined && clientCa === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError("TLS needs both --tls-cert and --tls-key");
  return { cert, key, ...(clientCa === undefined ? {} : { clientCa }) };
}
