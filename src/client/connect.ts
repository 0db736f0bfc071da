import { Channel, ChannelCredentials } from "@grpc/grpc-js";

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

/** Each channel has a connection of its own, and notices when the other end has vanished. */
export function connect(address: string, { tls = false }: ConnectOptions): Channel {
  return new Channel(address, credentials(tls), {
    "grpc.use_local_subchannel_pool": 1,
    // An http_proxy in the environment is for the web, and knows no way back to this machine.
    "grpc.enable_http_proxy": 0,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
  });
}

function credentials(tls: TlsOptions | boolean): ChannelCredentials {
  if (tls === false) return ChannelCredentials.createInsecure();
  const { ca, cert, key } = tls === true ? {} : tls;
  return ChannelCredentials.createSsl(pem(ca), pem(key), pem(cert));
}

function pem(text: string | Uint8Array | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
