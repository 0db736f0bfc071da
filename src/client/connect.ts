import { isIP } from "node:net";
import { checkServerIdentity, createSecureContext } from "node:tls";
import { Channel, ChannelCredentials, type ChannelOptions, type VerifyOptions } from "@grpc/grpc-js";

/** PEM texts. */
export interface TlsOptions {
  /** Authorities to trust, or (Node.js from 20.18) the server's own certificate; without them, the system's authorities. */
  ca?: string | Uint8Array;
  /** This client's own certificate chain, for a server that asks for one. */
  cert?: string | Uint8Array;
  /** Private key of `cert`. */
  key?: string | Uint8Array;
}

export interface ConnectOptions {
  /** Absent or false: plain text. */
  tls?: TlsOptions | boolean;
}

/**
 * Each channel has a connection of its own, and notices when the other end has vanished.
 * @internal
 */
export function connect(address: string, { tls = false }: ConnectOptions): Channel {
  const options: ChannelOptions = {
    "grpc.use_local_subchannel_pool": 1,
    // An http_proxy in the environment is for the web, and can't reach this machine.
    "grpc.enable_http_proxy": 0,
    // It repeats a call that was "refused" as if nobody had seen it; proxies say that of calls that were carried out, too.
    "grpc.enable_retries": 0,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
  };
  if (tls === false) return new Channel(address, ChannelCredentials.createInsecure(), options);

  const ip = ipIn(address);
  // A server name in TLS can't be an address (RFC 6066, section 3), and Bun refuses one. So the handshake sends another
  // name, and the certificate is checked against the address.
  const verify: VerifyOptions =
    ip === undefined ? {} : { checkServerIdentity: (_name, certificate) => checkServerIdentity(ip, certificate) };
  const named = ip === undefined ? options : { ...options, "grpc.ssl_target_name_override": "localhost" };
  return new Channel(address, credentials(tls === true ? {} : tls, verify), named);
}

function credentials({ ca, cert, key }: TlsOptions, verify: VerifyOptions): ChannelCredentials {
  // Only this function notices half a client certificate.
  const usual = ChannelCredentials.createSsl(pem(ca), pem(key), pem(cert), verify);
  if (ca === undefined) return usual;
  const files = { ca: Buffer.from(ca), cert: pem(cert) ?? undefined, key: pem(key) ?? undefined };
  // By default OpenSSL trusts what is in `ca` only at the end of a chain: a server's own certificate there would have
  // no effect.
  return ChannelCredentials.createFromSecureContext(
    createSecureContext({ ...files, allowPartialTrustChain: true }),
    verify,
  );
}

function ipIn(address: string): string | undefined {
  const host = /^\[?([^\]]*)\]?:\d+$/.exec(address)?.[1] ?? "";
  return isIP(host) > 0 ? host : undefined;
}

function pem(text: string | Uint8Array | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
