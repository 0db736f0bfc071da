import { freeBytes } from "../host/free-bytes.ts";
import { ApiError } from "./api-error.ts";
import type { UnfinishedBodies } from "./unfinished-bodies.ts";

export interface CallOptions {
  request: Request;
  /** The texts in place of the placeholders of its route's path. */
  params: readonly string[];
  /** Bytes of its body. */
  maxBytes: number;
  /** Time for all of the body to arrive, in seconds. */
  bodyTimeoutS: number;
  /** Of all requests. */
  unfinished: UnfinishedBodies;
  /** The server is shutting down. */
  stop: AbortSignal;
  /** Counts the call out. */
  end: () => void;
}

/** The header that says which requests belong together, for proxies that send them to one server. */
export const sessionHeader = "kakeya-session";

/** Longer ones are not repeated. */
const longestSession = 128;

/** One request under way. */
export class Call {
  readonly url: URL;
  /** Aborts when its client leaves, or the server stops. */
  readonly stop: AbortSignal;
  readonly #gone = new AbortController();
  #session: string | undefined;
  #goesOn = false;

  constructor(private readonly options: CallOptions) {
    this.url = new URL(options.request.url);
    const session = options.request.headers.get(sessionHeader);
    if (session !== null && session.length <= longestSession) this.#session = session;
    this.stop = AbortSignal.any([options.request.signal, options.stop, this.#gone.signal]);
  }

  /** What it belongs to: what its client says, or else the session that its conversation began in. */
  get session(): string | undefined {
    return this.#session;
  }

  belongsTo(session: string): void {
    this.#session ??= session;
  }

  get serverStops(): boolean {
    return this.options.stop.aborted;
  }

  /** Its client has left, or no longer waits. */
  abort(): void {
    this.#gone.abort();
  }

  /** The call goes on after its handler has returned, until the function that this returns is called. */
  goOn(): () => void {
    this.#goesOn = true;
    return this.options.end;
  }

  /** The handler has returned. */
  handled(): void {
    if (!this.#goesOn) this.options.end();
  }

  /** What stands for the path's placeholder number `index`. */
  param(index: number): string {
    return this.options.params[index] ?? "";
  }

  /** The body as JSON. @throws ApiError when it is too large, too slow, or not JSON */
  async body({ orEmpty = false } = {}): Promise<unknown> {
    const text = await this.#text();
    if (orEmpty && text.trim() === "") return {};
    try {
      return JSON.parse(text);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `We could not parse the JSON body of your request: ${reason}`;
      throw new ApiError(message, { status: 400, code: "invalid_json" });
    }
  }

  async #text(): Promise<string> {
    const { request, maxBytes, bodyTimeoutS, unfinished } = this.options;
    if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge(maxBytes);
    if (request.body === null) return "";
    const reader = request.body.getReader();
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(tooSlow(bodyTimeoutS)), bodyTimeoutS * 1000);
    const held = unfinished.begin(() => late.reject(tooMany()));
    try {
      for (;;) {
        const { done, value } = await Promise.race([reader.read(), late.promise]);
        if (done) return decoded(chunks);
        chunks.push(value);
        bytes += value.length;
        if (bytes > maxBytes) throw tooLarge(maxBytes);
        held.add(value.length);
      }
    } catch (error) {
      void reader.cancel().catch(() => {}); // What has arrived of the rest is not kept.
      throw request.signal.aborted ? new ApiError("the client left before its body was here", { status: 400 }) : error;
    } finally {
      clearTimeout(timer);
      for (const chunk of chunks) freeBytes(chunk);
      held.end();
    }
  }
}

function decoded(chunks: readonly Uint8Array[]): string {
  const whole = Buffer.concat(chunks);
  const text = new TextDecoder().decode(whole);
  freeBytes(whole);
  return text;
}

// The rest of a body that nobody reads would be taken for the next request.
const headers = { connection: "close" };

function tooLarge(maxBytes: number): ApiError {
  const message = `the request is larger than ${maxBytes} bytes; see --max-request-bytes`;
  return new ApiError(message, { status: 413, code: "request_too_large", headers });
}

function tooSlow(bodyTimeoutS: number): ApiError {
  const message = `the body of the request did not arrive within ${bodyTimeoutS} s`;
  return new ApiError(message, {
    status: 408,
    code: "request_timeout",
    headers: { ...headers, "x-should-retry": "false" },
  });
}

function tooMany(): ApiError {
  const message = "too many bytes of unfinished requests are held; try again";
  return new ApiError(message, { status: 503, code: "overloaded", headers: { ...headers, "retry-after": "1" } });
}
