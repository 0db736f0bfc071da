/** How a command reaches its server: one that runs already, or the one that it starts. */

import type { ArgsDef } from "citty";
import { UsageError } from "../cli/exit.ts";
import { say } from "../cli/output.ts";
import { duration } from "../cli/units.ts";
import type { ClientOptions, TlsOptions } from "../client/index.ts";
import { readPem } from "../host/tls.ts";
import { type TokenSources, tokenFrom } from "../host/token.ts";

export interface Connection {
  /** Absent: the command starts its own server. */
  address: string | undefined;
  token: TokenSources;
  /** Paths of PEM files; absent: plain text. */
  tls: TlsPaths | undefined;
  /** Longest wait for the server's first answer. */
  connectTimeoutS: number;
}

interface TlsPaths {
  /** "system": the authorities that this machine trusts. */
  ca: string;
  /** The client's own. */
  cert: string | undefined;
  key: string | undefined;
}

const systemCa = "system";

export const connectionFlags = {
  address: {
    type: "string",
    description: "A running server (default: starts its own)",
    valueHint: "host:port|unix:/path",
  },
  token: {
    type: "string",
    description:
      "Bearer token for --address; other users see it in the list of processes: prefer the file or KAKEYA_TOKEN",
    valueHint: "secret",
  },
  "token-file": { type: "string", description: "File with that token; - for the standard input", valueHint: "path" },
  "tls-ca": {
    type: "string",
    description: `Reach --address over TLS: the authority of its certificate, the certificate itself, or "${systemCa}"`,
    valueHint: `pem|${systemCa}`,
  },
  "tls-cert": {
    type: "string",
    description: "Certificate of this client, for a server that asks for one",
    valueHint: "pem",
  },
  "tls-key": { type: "string", description: "Private key of --tls-cert", valueHint: "pem" },
  "connect-timeout": {
    type: "string",
    default: "30s",
    description: "Longest wait for the server's first answer",
    valueHint: "time",
  },
} as const satisfies ArgsDef;

type Args = { [K in keyof typeof connectionFlags]?: string | boolean | undefined };

/** @throws {UsageError} for flags that need --address when there is none, and for half a client certificate */
export function connectionOf(args: Args): Connection {
  const given = (name: keyof Args) => (typeof args[name] === "string" ? args[name] : undefined);
  const address = given("address");
  const needless = (["token", "token-file", "tls-ca", "tls-cert", "tls-key"] as const).find((name) => given(name));
  if (address === undefined && needless !== undefined) {
    throw new UsageError(`--${needless} is for the server at --address, and there is no --address`);
  }
  const [ca, cert, key] = [given("tls-ca"), given("tls-cert"), given("tls-key")];
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError("a client certificate needs both --tls-cert and --tls-key");
  }
  const timeout = given("connect-timeout") ?? connectionFlags["connect-timeout"].default;
  const connectTimeoutS = duration("connect-timeout", timeout);
  if (connectTimeoutS <= 0) throw new UsageError(`--connect-timeout must be longer than 0, not "${timeout}"`);
  return {
    address,
    token: { flag: given("token"), file: given("token-file"), environment: process.env.KAKEYA_TOKEN },
    tls: ca === undefined && cert === undefined ? undefined : { ca: ca ?? systemCa, cert, key },
    connectTimeoutS,
  };
}

/** Reads the files. @throws Error that names the file that can't be read, and its flag */
export async function clientOptions({ address, token, tls }: Connection): Promise<ClientOptions> {
  if (token.flag === undefined && token.file === "-" && process.stdin.isTTY) {
    say(`the token of ${address}, then Enter:`);
  }
  const secret = await tokenFrom(token);
  return {
    ...(secret === undefined ? {} : { token: secret }),
    ...(tls === undefined ? {} : { tls: await pemsOf(tls) }),
  };
}

async function pemsOf({ ca, cert, key }: TlsPaths): Promise<TlsOptions> {
  const pems: TlsOptions = {};
  if (ca !== systemCa) pems.ca = await readPem("--tls-ca", ca);
  if (cert !== undefined) pems.cert = await readPem("--tls-cert", cert);
  if (key !== undefined) pems.key = await readPem("--tls-key", key);
  return pems;
}
