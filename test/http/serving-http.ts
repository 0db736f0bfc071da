import OpenAI, { type ClientOptions } from "openai";
import type { Engine, EngineInfo } from "../../src/engine/engine.ts";
import { type Serving, serving } from "../serve/serving.ts";

export interface HttpServing extends Serving {
  /** http://127.0.0.1:port */
  readonly url: string;
  /** OpenAI's own client, unmodified. */
  openai(options?: ClientOptions): OpenAI;
}

/** A real server with both doors on free ports. */
export async function servingHttp(options: Parameters<typeof serving>[0] = {}): Promise<HttpServing> {
  const server = await serving({ http: { bind: "127.0.0.1:0", isDefault: false }, ...options });
  const url = server.server.httpUrl ?? "";
  return {
    ...server,
    url,
    openai: (given) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, ...given }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** The same engine, with no token that ends an answer. */
export function withoutEnd(engine: Engine): Engine {
  const info: EngineInfo = { ...engine.info, eosTokenIds: [] };
  return new Proxy(engine, {
    get(target, name) {
      if (name === "info") return info;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
