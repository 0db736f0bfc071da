import { ServerCredentials } from "@grpc/grpc-js";
import type { TlsSettings } from "../host/tls.ts";

/** grpc-js's own credentials can't refuse ciphers. */
class TlsCredentials extends ServerCredentials {
  constructor({ cert, key, ca, ...handshake }: TlsSettings) {
    super(handshake, { cert: [cert], key: [key], ...(ca === undefined ? {} : { ca }) });
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

export function grpcCredentials(tls: TlsSettings | undefined): ServerCredentials {
  return tls === undefined ? ServerCredentials.createInsecure() : new TlsCredentials(tls);
}
