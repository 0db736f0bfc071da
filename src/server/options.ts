/** Everything a server can be told, with what it does when it is told nothing. */
export interface ServerOptions {
  /** host:port (port 0: any free one) or unix:/path. */
  bind: string;
  /** Idle time after which a session is evicted, in seconds. */
  sessionTtlS: number;
  /** How long streams may go on once the server is told to stop, in seconds. */
  shutdownGraceS: number;
  /** Token ids in one AppendTokens. */
  maxAppendTokens: number;
  /** Bytes of one request. */
  maxRequestBytes: number;
  /** Calls that may wait for one session. */
  maxWaitingCalls: number;
  /** Calls at once on one connection. */
  maxStreamsPerConnection: number;
}

export const defaultServerOptions: ServerOptions = {
  bind: "127.0.0.1:50051",
  sessionTtlS: 1800,
  shutdownGraceS: 5,
  maxAppendTokens: 262_144,
  maxRequestBytes: 4 * 2 ** 20,
  maxWaitingCalls: 16,
  maxStreamsPerConnection: 256,
};
