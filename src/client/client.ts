import { type Channel, ClientError, createClient, Status } from "nice-grpc";
import {
  type GetRuntimeInfoResponse,
  type RuntimeServiceClient,
  RuntimeServiceDefinition,
} from "../gen/kakeya/v1/runtime.ts";
import { Calls } from "./calls.ts";
import { type ConnectOptions, connect } from "./connect.ts";
import { type CallOptions, Session } from "./session.ts";
import { uint32s } from "./unsigned.ts";

export interface ClientOptions extends ConnectOptions {
  /** Bearer token, for a server that wants one. */
  token?: string;
  /**
   * Seconds for which a session's call is made again when no server can take it, or the way to the server broke; 0: it
   * fails at once. Nothing is done twice. Default: 30, in which another server takes over the sessions of one that died.
   */
  retryS?: number;
}

export interface CreateSessionOptions extends CallOptions {
  /** Ids that end a generation; none: only maxTokens does. See RuntimeInfo.defaultEosTokenIds. */
  eosTokenIds?: Iterable<number>;
  /** Free text for the server's logs. */
  label?: string;
}

/** What a server serves, and how full it is. */
export interface RuntimeInfo {
  version: string;
  modelId: string;
  modelFingerprint: string;
  architecture: string;
  vocabSize: number;
  sink: number;
  window: number;
  block: number;
  quantization: string;
  /** How sessions' keys and values are held: "f32", or "q8" for 8 bits with a scale a row. */
  kvFormat: string;
  /** The same history gives the same bits however it was appended. */
  exact: boolean;
  kvBytesPerToken: number;
  kvSlabBytes: number;
  defaultEosTokenIds: number[];
  sessionCapacity: number;
  sessionActiveCount: number;
  residentBytes: number;
  uptimeS: number;
  threads: number;
  /**
   * The server's steps run a multiple of this many rows, which makes its kernels give the same bits for any number of
   * tokens.
   */
  rowMultiple: number;
  /** The most guesses that one step runs for one session; 0: none. */
  draftLimit: number;
  /** What runs the model: "cpu" or "gpu"; empty from a server of an earlier version, which has the processor alone. */
  device: string;
  /** The GPU's name, its interface and its driver; empty for the processor. */
  adapter: string;
}

/** A connection of its own to one kakeya server; opens at the first call, and again after a failure. */
export class Client implements Disposable {
  readonly #channel: Channel;
  readonly #rpc: RuntimeServiceClient;
  readonly #calls: Calls;

  /** @param address host:port, [ipv6]:port or unix:/path */
  constructor(address: string, { token, retryS = 30, ...options }: ClientOptions = {}) {
    this.#channel = connect(address, options);
    this.#calls = new Calls({ token, retryS });
    this.#rpc = createClient(RuntimeServiceDefinition, this.#channel);
  }

  async createSession({ eosTokenIds = [], label = "", signal }: CreateSessionOptions = {}): Promise<Session> {
    const request = { clientLabel: label, eosTokenIds: uint32s("eosTokenIds", eosTokenIds) };
    // Chosen here, so that a proxy that routes by it sends this call where all later ones of the session go.
    const chosen = newSessionId();
    const to = { sessionId: chosen, isRepeatable: () => true };
    const { sessionId } = await this.#calls.run(signal, to, async (attempt) => {
      try {
        return await this.#rpc.createSession(request, attempt);
      } catch (error) {
        // Nobody else has that id: an earlier attempt has created it.
        if (attempt.mayHaveRun && error instanceof ClientError && error.code === Status.ALREADY_EXISTS) {
          return { sessionId: chosen };
        }
        throw error;
      }
    });
    return new Session(this.#rpc, this.#calls, sessionId, 0);
  }

  /** A session created before, perhaps by another process; nothing is sent until it is used. */
  session(id: string): Session {
    return new Session(this.#rpc, this.#calls, id);
  }

  async runtimeInfo({ signal }: CallOptions = {}): Promise<RuntimeInfo> {
    return runtimeInfoOf(await this.#calls.run(signal, {}, (attempt) => this.#rpc.getRuntimeInfo({}, attempt)));
  }

  /** Cancels the calls in flight and ends the connection. Sessions stay on the server until closed or evicted. */
  close(): void {
    this.#calls.close();
    this.#channel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** 192 random bits: nobody can guess it. */
function newSessionId(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString("base64url");
}

function runtimeInfoOf({ uptimeSeconds, ...info }: GetRuntimeInfoResponse): RuntimeInfo {
  return {
    ...info,
    kvBytesPerToken: Number(info.kvBytesPerToken),
    kvSlabBytes: Number(info.kvSlabBytes),
    residentBytes: Number(info.residentBytes),
    uptimeS: uptimeSeconds,
  };
}
