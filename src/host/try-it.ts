/** The command that the ready sentence suggests: typed in another terminal, it reaches this server. */

import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";
import { addressOf, type Bind, parseBind } from "./bind.ts";

/** The flags that say how to reach a server, as they were given. */
type Given = Partial<
  Record<"model" | "token" | "token-file" | "tls-cert" | "tls-key" | "tls-client-ca", string | undefined>
>;

/**
 * `bench` with what it needs to reach a server that was started with `args` and listens at `address`. A token is never
 * part of it: one that came from the environment has to be there again, and the command asks for one that came from the
 * command line.
 */
export function benchWords(args: Given, address: string): string[] {
  const tls = args["tls-cert"];
  const certificate = tls === undefined ? undefined : certificateIn(tls);
  return [
    "bench",
    "--address",
    dialable(parseBind(address), certificate),
    ...(tls === undefined ? [] : ["--tls-ca", resolve(tls)]),
    ...clientCertificate(args, certificate),
    ...token(args),
    ...tokenizer(args.model),
    "--duration",
    "1m",
  ];
}

/** As this machine dials it, under a name that the certificate holds. */
function dialable(bind: Bind, certificate: X509Certificate | undefined): string {
  if (bind.kind === "unix") return addressOf(bind);
  const isAny = bind.host === "0.0.0.0" || bind.host === "::";
  const loopback = bind.host === "::" ? "::1" : "127.0.0.1";
  const own = isAny ? [loopback, "localhost"] : [bind.host];
  if (certificate === undefined) return addressOf({ ...bind, host: own[0] ?? bind.host });
  const named = /DNS:([^,*\s]+)/.exec(certificate.subjectAltName ?? "")?.[1];
  const hosts = [...own, ...(bind.host === loopback ? ["localhost"] : []), ...(named === undefined ? [] : [named])];
  const host = hosts.find((name) => (isIP(name) > 0 ? certificate.checkIP(name) : certificate.checkHost(name)));
  return addressOf({ ...bind, host: host ?? own[0] ?? bind.host });
}

/**
 * The server's own certificate and key, if its clients' authority signed them; else names for the reader to replace.
 */
function clientCertificate(args: Given, certificate: X509Certificate | undefined): string[] {
  const { "tls-cert": cert, "tls-key": key, "tls-client-ca": ca } = args;
  if (ca === undefined || cert === undefined || key === undefined) return [];
  const authority = certificateIn(ca);
  const suits = authority !== undefined && certificate?.checkIssued(authority) === true;
  const [ownCert, ownKey] = suits ? [resolve(cert), resolve(key)] : ["CLIENT.pem", "CLIENT.key"];
  return ["--tls-cert", ownCert, "--tls-key", ownKey];
}

/**
 * The first certificate of a file; undefined where it can't be read here: a suggestion is no reason to stop serving.
 */
function certificateIn(path: string): X509Certificate | undefined {
  try {
    return new X509Certificate(readFileSync(path));
  } catch {
    return undefined;
  }
}

function token({ token, "token-file": file }: Given): string[] {
  if (token !== undefined) return ["--token-file", "-"];
  return file === undefined ? [] : ["--token-file", file === "-" ? file : resolve(file)];
}

/** A directory has to be named; an id leads the bench to the same place as the server. */
function tokenizer(model: string | undefined): string[] {
  const isDirectory = model !== undefined && statSync(model, { throwIfNoEntry: false })?.isDirectory() === true;
  return isDirectory ? ["--tokenizer", resolve(model)] : [];
}
