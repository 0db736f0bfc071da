import type { EngineOptions } from "../engine/engine.ts";
import type { TlsFiles } from "./tls.ts";

/** Everything a server can be told. */
export interface ServerOptions {
  /** host:port (port 0: any free one), [ipv6]:port or unix:/path. */
  bind: string;
  /** The HTTP door; absent: none. */
  http?: HttpOptions;
  /** Origins whose pages may call the HTTP door, besides its own. */
  httpOrigins: readonly string[];
  /** The token that clients must send. It is required unless only this machine can reach the server. */
  token?: string;
  tls?: TlsFiles;
  /** Idle time after which a session is evicted, in seconds; 0: never. */
  sessionTtlS: number;
  /** Idle time after which a session may make room for a new one, in seconds. */
  evictAfterS: number;
  /** How long calls in flight may go on once the server is told to stop, in seconds. */
  shutdownGraceS: number;
  /** Token ids in one AppendTokens. */
  maxAppendTokens: number;
  /** Bytes of one request. */
  maxRequestBytes: number;
  /** Calls that may wait for one session. */
  maxWaitingCalls: number;
  /** Calls at once on one connection. */
  maxStreamsPerConnection: number;
  /** Connections at once. At the limit, those on which no call was let in make room. */
  maxConnections: number;
  /** Quiet time after which a connection is probed, in seconds. */
  keepaliveS: number;
  /** Time it has to answer the probe, in seconds. */
  keepaliveTimeoutS: number;
}

export interface HttpOptions {
  /** host:port (port 0: any free one) or [ipv6]:port. */
  bind: string;
  /** True when nobody asked for it: if its port is taken, the server runs without it. */
  isDefault: boolean;
}

/** Where `serve` opens the HTTP door by default. */
export const defaultHttpBind = "127.0.0.1:8051";

/** Where sessions outlive the server. */
export type StateOptions = (StateFolder | StateDatabase) & {
  /** Compute sessions again if another engine computed them. */
  rebuild: boolean;
  /** How many last ids each session keeps at least; absent: all. */
  keepIds?: number;
};

export interface StateFolder {
  dir: string;
  sync: "normal" | "full";
}

/** Postgres, which several servers can share. */
export interface StateDatabase {
  url: string;
  passwordFile?: string;
  /** As other servers' errors name this one; absent: its process and host. */
  serverName?: string;
  /** Time after which others may take the sessions of a server that does not answer, in seconds. */
  leaseS: number;
  /** How long a call waits for the database, or for another server to give a session back, in seconds. */
  waitS: number;
}

export const defaultStateLeaseS = 10;
export const defaultStateWaitS = 10;

/** Idle time after which a session that takes only disk space is removed, in seconds: 30 days. */
export const storedSessionTtlS = 30 * 86_400;

/** What is served when nothing is chosen: the embedded model, with the window that suits it. */
export const defaultEngineOptions: EngineOptions & Required<Pick<EngineOptions, "kv">> = {
  quantization: "q8",
  kv: "f32",
  sink: 4,
  capacity: 4,
};

/** What a server does when it is told nothing. */
export const defaultServerOptions: ServerOptions = {
  bind: "127.0.0.1:50051",
  httpOrigins: [],
  sessionTtlS: 1800,
  evictAfterS: 600,
  shutdownGraceS: 5,
  maxAppendTokens: 262_144,
  maxRequestBytes: 4 * 2 ** 20,
  maxWaitingCalls: 16,
  maxStreamsPerConnection: 256,
  maxConnections: 1024,
  keepaliveS: 20,
  keepaliveTimeoutS: 10,
};
