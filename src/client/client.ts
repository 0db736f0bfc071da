import { type Channel, ChannelCredentials, createChannel, createClient } from "nice-grpc";
import {
  type GetRuntimeInfoResponse,
  type RuntimeServiceClient,
  RuntimeServiceDefinition,
} from "../gen/kakeya/v1/runtime.ts";
import { typedError } from "./errors.ts";
import { type CallOptions, Session } from "./session.ts";

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
}

/** A connection to one kakeya server; opens lazily, and again after a failure. */
export class Client implements Disposable {
  readonly #channel: Channel;
  readonly #rpc: RuntimeServiceClient;

  /** @param address host:port or unix:/path */
  constructor(address: string) {
    this.#channel = createChannel(address, ChannelCredentials.createInsecure());
    this.#rpc = createClient(RuntimeServiceDefinition, this.#channel);
  }

  async createSession({ eosTokenIds = [], label = "", signal }: CreateSessionOptions = {}): Promise<Session> {
    const request = { clientLabel: label, eosTokenIds: Array.from(eosTokenIds) };
    const { sessionId } = await this.#call(() => this.#rpc.createSession(request, signal ? { signal } : {}));
    return this.session(sessionId);
  }

  /** A session created before, perhaps by another process; nothing is sent until it is used. */
  session(id: string): Session {
    return new Session(this.#rpc, id);
  }

  async runtimeInfo({ signal }: CallOptions = {}): Promise<RuntimeInfo> {
    const info = await this.#call(() => this.#rpc.getRuntimeInfo({}, signal ? { signal } : {}));
    return runtimeInfoOf(info);
  }

  /** Ends the connection; calls in flight fail. Sessions stay on the server until closed or evicted. */
  close(): void {
    this.#channel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #call<T>(send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw typedError(error);
    }
  }
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
