import { ApiError } from "./api-error.ts";
import type { Call } from "./call.ts";

export interface Route {
  method: "GET" | "POST" | "DELETE";
  /** Segments that are `*` stand for one of any text. */
  path: string;
  /** Needs no token: it says nothing about what is served to whom. */
  isOpen?: boolean;
  handle: (call: Call) => Response | Promise<Response>;
}

export interface Found {
  route: Route;
  /** What the placeholders stood for. */
  params: string[];
}

/** @throws ApiError 404 for an unknown path, 405 for another method than its own */
export function findRoute(routes: readonly Route[], asked: string, path: string): Found {
  const method = asked === "HEAD" ? "GET" : asked;
  const matching = routes.flatMap((route) => {
    const params = match(route.path, path);
    return params === undefined ? [] : [{ route, params }];
  });
  const found = matching.find(({ route }) => route.method === method);
  if (found !== undefined) return found;
  const what = `${method} ${path.slice(0, 200)}`;
  if (matching.length === 0) throw new ApiError(`Unknown request URL: ${what}.`, { status: 404, code: "unknown_url" });
  const allow = matching.map(({ route }) => route.method).join(", ");
  throw new ApiError(`Not allowed: ${what}; use ${allow}.`, {
    status: 405,
    code: "method_not_allowed",
    headers: { allow },
  });
}

function match(pattern: string, path: string): string[] | undefined {
  const names = pattern.split("/");
  const segments = path.split("/");
  if (names.length !== segments.length) return undefined;
  const params: string[] = [];
  for (const [index, name] of names.entries()) {
    const segment = segments[index] ?? "";
    if (name === "*" && segment !== "") params.push(segment);
    else if (name !== segment) return undefined;
  }
  return params;
}
