/** Where the database is, as the user wrote it. */

import { readFileSync } from "node:fs";
import { StateError } from "../errors.ts";

export interface PostgresAddress {
  /** postgres://user@host:port/database, with sslmode, sslrootcert, or host for the folder of a socket. */
  url: string;
  /** A file with the password, read for each connection; absent: the URL's, or PGPASSWORD's. */
  passwordFile?: string;
}

const known = ["sslmode", "sslrootcert", "host"];
const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"];

export function isPostgresUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//.test(text);
}

/** Without its password, for messages. */
export function shownUrl(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null) return url.replace(/\/\/.*@/, "//...@");
  parsed.password = "";
  return parsed.href;
}

export function hasPassword(url: string): boolean {
  return (URL.parse(url)?.password ?? "") !== "";
}

/** What Bun.SQL is given. @throws StateError unusable */
export function connectionOptions({ url, passwordFile }: PostgresAddress): Bun.SQL.Options {
  const parsed = URL.parse(url);
  if (parsed === null || !isPostgresUrl(url)) {
    throw new StateError("unusable", `${shownUrl(url)} is no URL such as postgres://user@host:5432/database`);
  }
  const other = [...parsed.searchParams.keys()].find((name) => !known.includes(name));
  if (other !== undefined) {
    throw new StateError("unusable", `${shownUrl(url)} has the parameter "${other}"; known are ${known.join(", ")}`);
  }
  const port = parsed.port === "" ? 5432 : Number(parsed.port);
  const socket = parsed.searchParams.get("host");
  return {
    adapter: "postgres",
    username: decodeURIComponent(parsed.username) || (process.env.PGUSER ?? process.env.USER ?? "postgres"),
    database: decodeURIComponent(parsed.pathname.slice(1)) || decodeURIComponent(parsed.username) || "postgres",
    ...(socket?.startsWith("/")
      ? { path: `${socket}/.s.PGSQL.${port}` }
      : { hostname: socket ?? parsed.hostname.replace(/^\[|\]$/g, ""), port, ...tlsOptions(parsed) }),
    // Read for each connection, so that it can be changed while the server runs.
    password: passwordFile === undefined ? passwordOf(parsed) : () => textOf("password", passwordFile).trim(),
  };
}

function textOf(what: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new StateError("unusable", `the ${what} of the database can't be read: ${words}`, { cause: error });
  }
}

function passwordOf(url: URL): string {
  return decodeURIComponent(url.password) || (process.env.PGPASSWORD ?? "");
}

/** As libpq has it: TLS where the database offers it, and checked only where the URL says so. */
function tlsOptions(url: URL): Bun.SQL.Options {
  const mode = url.searchParams.get("sslmode") ?? "prefer";
  if (!sslModes.includes(mode)) {
    throw new StateError("unusable", `${shownUrl(url.href)} has sslmode=${mode}; there are ${sslModes.join(", ")}`);
  }
  const authority = url.searchParams.get("sslrootcert");
  return {
    url: `postgres://${url.host}/?sslmode=${mode}`,
    ...(authority === null ? {} : { tls: { ca: textOf("sslrootcert", authority) } }),
  };
}
