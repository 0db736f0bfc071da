import { isIP } from "node:net";
import { checkServerIdentity } from "node:tls";
import { Channel, ChannelCredentials, type ChannelOptions } from "@grpc/grpc-js";

/** PEM texts. */
export interface TlsOptions {
  /** Authorities to trust; without them, the system's. */
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
    // An http_proxy in the environment is for the web, and knows no way back to this machine.
    "grpc.enable_http_proxy": 0,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
  };
  if (tls === false) return new Channel(address, ChannelCredentials.createInsecure(), options);

  const { ca, cert, key } = tls === true ? {} : tls;
  const ip = ipIn(address);
  if (ip === undefined)
    return new Channel(address, ChannelCredentials.createSsl(pem(ca), pem(key), pem(cert)), options);
  // TLS has no server names that are addresses (RFC 6066, section 3), and Bun refuses them. So the handshake says
  // another name, and the certificate is checked against the address.
  const credentials = ChannelCredentials.createSsl(pem(ca), pem(key), pem(cert), {
    checkServerIdentity: (_name, certificate) => checkServerIdentity(ip, certificate),
  });
  return new Channel(address, credentials, { ...options, "grpc.ssl_target_name_override": "localhost" });
}

function ipIn(address: string): string | undefined {
  const host = /^\[?([^\]]*)\]?:\d+$/.exec(address)?.[1] ?? "";
  return isIP(host) > 0 ? host : undefined;
}

function pem(text: string | Uint8Array | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
