import { type Access, accessDenied } from "../host/access.ts";
import { ApiError } from "./api-error.ts";

export interface GuardOptions {
  access: Access;
  /** The host that the door is bound to. */
  boundHost: string;
  /** Origins, such as https://chat.example.org, whose pages may call. */
  origins: readonly string[];
}

const loopbackNames = ["localhost", "127.0.0.1", "[::1]"];
const anyAddress = ["0.0.0.0", "::"];

/**
 * Decides who may call: no page of another origin, under whatever name it reached us. A page can't choose the `Host`
 * and `Origin` of its requests; a name that an attacker points at 127.0.0.1 (DNS rebinding) shows in both.
 */
export class Guard {
  constructor(private readonly options: GuardOptions) {}

  /** @throws ApiError 403 for a foreign host or origin */
  requireOwnHost(request: Request): void {
    const host = request.headers.get("host") ?? "";
    if (!this.#isOwn(host)) {
      const message = `the host ${JSON.stringify(host.slice(0, 80))} is not a name of this server; see --http-origin`;
      throw new ApiError(message, { status: 403, code: "foreign_host" });
    }
    const origin = request.headers.get("origin");
    if (origin !== null && !this.#isSame(origin, host) && !this.options.origins.includes(origin)) {
      const message = `pages of ${JSON.stringify(origin.slice(0, 80))} may not call this server; see --http-origin`;
      throw new ApiError(message, { status: 403, code: "foreign_origin" });
    }
  }

  /** @throws ApiError 401 */
  requireToken(request: Request): void {
    const verdict = this.options.access(request.headers.get("authorization") ?? undefined);
    if (verdict === "granted") return;
    const message = accessDenied[verdict].replace("metadata", "header");
    const headers = { "www-authenticate": "Bearer" };
    throw new ApiError(message, { status: 401, code: "invalid_api_key", headers });
  }

  /** Headers that let pages of the named origins read an answer. */
  corsHeaders(request: Request): Record<string, string> {
    const origin = request.headers.get("origin");
    if (origin === null || !this.options.origins.includes(origin)) return {};
    return { "access-control-allow-origin": origin, vary: "Origin" };
  }

  /** The answer to a browser that asks before it calls. */
  preflight(request: Request): Response {
    const headers = {
      ...this.corsHeaders(request),
      "access-control-allow-methods": "GET, POST, DELETE",
      "access-control-allow-headers": request.headers.get("access-control-request-headers") ?? "",
      "access-control-max-age": "600",
    };
    return new Response(null, { status: 204, headers });
  }

  #isOwn(host: string): boolean {
    const { boundHost, origins } = this.options;
    const name = host.replace(/:\d+$/, "").toLowerCase();
    if (loopbackNames.includes(name) || name === bracketed(boundHost).toLowerCase()) return true;
    if (origins.some((origin) => URL.parse(origin)?.host === host.toLowerCase())) return true;
    // Other machines reach it under names that it can't know. They need the token, which no foreign page has.
    return anyAddress.includes(boundHost);
  }

  #isSame(origin: string, host: string): boolean {
    return origin === `http://${host}` || origin === `https://${host}`;
  }
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
