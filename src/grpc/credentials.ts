import { ServerCredentials } from "@grpc/grpc-js";
import type { TlsSettings } from "../host/tls.ts";

/** grpc-js's own can't be told which ciphers to refuse. */
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
