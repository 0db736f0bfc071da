import type { Engine } from "../engine/engine.ts";
import { bearerAccess } from "../host/access.ts";
import { addressOf, type TcpBind } from "../host/bind.ts";
import type { Calls } from "../host/calls.ts";
import type { Connections } from "../host/connections.ts";
import type { Log, LogFields } from "../host/log.ts";
import type { Metrics } from "../host/metrics.ts";
import type { ServerOptions } from "../host/options.ts";
import { seldom } from "../host/seldom.ts";
import type { TlsSettings } from "../host/tls.ts";
import { type Asked, startWebServer } from "../host/web-server.ts";
import type { SessionStore } from "../session/store.ts";
import { defaultMaxTurnBytes, textRoutes } from "./api.ts";
import { apiErrorOf, notFound, shuttingDown } from "./api-error.ts";
import { Call, sessionHeader } from "./call.ts";
import { Guard } from "./guard.ts";
import { HttpMetrics } from "./http-metrics.ts";
import { pageResponse } from "./page/page.ts";
import { findRoute, type Route } from "./router.ts";
import { statusResponse } from "./status.ts";
import { noTextModel, openTextModel } from "./text-model.ts";
import { TextState } from "./text-state.ts";
import { UnfinishedBodies } from "./unfinished-bodies.ts";

/** Time for all of a body to arrive, in seconds. */
const bodyTimeoutS = 30;
/** How many requests of the largest size may be under way, each short of its end. */
const unfinishedRequests = 16;

export interface DoorParts {
  engine: Engine;
  store: SessionStore;
  metrics: Metrics;
  calls: Calls;
  connections: Connections;
  log: Log;
  /** The folder of --state; absent: conversations end with the server. */
  stateDir: string | undefined;
  /** Ends what is being generated. */
  stop: AbortSignal;
  /** Monotonic clock, in seconds. */
  now: () => number;
}

export interface HttpListening {
  bind: TcpBind;
  tls: TlsSettings | undefined;
}

export interface HttpDoor {
  /** http://host:port */
  readonly url: string;
  /** Ends all connections. */
  stop(): Promise<void>;
}

/** What the log says of a request: its path without the ids in it, because whoever knows an id can use it. */
interface Entry extends LogFields {
  method: string;
  path: string;
}

/** Opens the door for OpenAI's clients and browsers. @throws Error when it can't listen */
export async function openHttpDoor(
  parts: DoorParts,
  { bind, tls }: HttpListening,
  options: ServerOptions,
): Promise<HttpDoor> {
  const { log, now, calls, connections } = parts;
  const guard = new Guard({
    access: bearerAccess(options.token),
    boundHost: bind.host,
    origins: options.httpOrigins,
  });
  const httpMetrics = new HttpMetrics(parts.metrics.registry);
  const refused = seldom("request refused", { write: log.warn, now });
  const state = parts.stateDir === undefined ? undefined : new TextState(parts.stateDir);
  const routes = allRoutes(parts, options, state);
  const unfinished = new UnfinishedBodies(unfinishedRequests * options.maxRequestBytes);

  const answer = async ({ request, welcome }: Asked, entry: Entry): Promise<Response> => {
    guard.requireOwnHost(request);
    if (request.method === "OPTIONS") return guard.preflight(request);
    const { route, params } = findRoute(routes, request.method, new URL(request.url).pathname);
    entry.path = route.path;
    if (route.isOpen !== true) {
      guard.requireToken(request);
      welcome();
    }
    const end = calls.begin();
    if (end === undefined) throw shuttingDown();
    const { maxRequestBytes: maxBytes } = options;
    const call = new Call({ request, params, maxBytes, bodyTimeoutS, unfinished, stop: parts.stop, end });
    try {
      const response = await route.handle(call);
      if (call.session !== undefined) response.headers.set(sessionHeader, call.session);
      return response;
    } finally {
      call.handled();
    }
  };

  const server = await startWebServer({
    bind,
    tls,
    connections,
    async answer(asked) {
      const { request, peer } = asked;
      const entry: Entry = { method: request.method, path: "unknown" };
      const startedAtS = now();
      let response: Response;
      let reason: string | undefined;
      try {
        response = await answer(asked, entry);
      } catch (error) {
        const apiError = apiErrorOf(error, log);
        const { status, message } = apiError;
        reason = message;
        if (status === 401 || status === 403) refused({ status, reason, peer });
        response = apiError.toResponse();
      }
      for (const [name, value] of Object.entries(guard.corsHeaders(request))) response.headers.set(name, value);
      const { status } = response;
      const durationS = now() - startedAtS;
      httpMetrics.answered(request.method, status, durationS);
      log.debug("request", { ...entry, status, reason, duration_s: durationS });
      return response;
    },
  });
  return {
    url: `${tls === undefined ? "http" : "https"}://${addressOf({ ...bind, port: server.port })}`,
    async stop() {
      await server.stop();
      state?.close();
    },
  };
}

function allRoutes(parts: DoorParts, options: ServerOptions, state: TextState | undefined): Route[] {
  const { engine, log, metrics } = parts;
  const { modelId } = engine.info;
  const model = { id: modelId, object: "model", created: Math.floor(Date.now() / 1000), owned_by: "kakeya" };
  const text = openTextModel(engine.info);
  const common: Route[] = [
    { method: "GET", path: "/", isOpen: true, handle: pageResponse },
    { method: "GET", path: "/status", handle: () => statusResponse(parts) },
    { method: "GET", path: "/health", isOpen: true, handle: () => Response.json({ status: "ok" }) },
    {
      method: "GET",
      path: "/metrics",
      handle: async () =>
        new Response(await metrics.registry.metrics(), { headers: { "content-type": metrics.registry.contentType } }),
    },
    { method: "GET", path: "/v1/models", handle: () => Response.json({ object: "list", data: [model] }) },
    {
      method: "GET",
      path: "/v1/models/*",
      handle: (call) => {
        // Clients encode the slash in a name.
        if (call.param(0).replace(/%2F/gi, "/") !== modelId) throw notFound("Model", call.param(0));
        return Response.json(model);
      },
    },
  ];
  if ("problem" in text) {
    log.warn("HTTP takes no messages: the model has no text", { reason: text.problem });
    const refuse = () => {
      throw noTextModel(text);
    };
    const paths = ["/v1/chat/completions", "/v1/responses", "/v1/conversations"];
    return [...common, ...paths.map((path): Route => ({ method: "POST", path, handle: refuse }))];
  }
  const { maxAppendTokens: maxPromptTokens } = options;
  return [...common, ...textRoutes({ ...parts, text, state, maxPromptTokens, maxTurnBytes: defaultMaxTurnBytes })];
}
