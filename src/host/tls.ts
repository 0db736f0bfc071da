import { readFile } from "node:fs/promises";
import { ServerCredentials } from "@grpc/grpc-js";

/** PEM files. */
export interface TlsFiles {
  cert: string;
  key: string;
  /** Clients must show a certificate that this authority signed. */
  clientCa?: string;
}

export async function serverCredentials(tls: TlsFiles | undefined): Promise<ServerCredentials> {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const [cert, key, clientCa] = await Promise.all([
    readPem("--tls-cert", tls.cert),
    readPem("--tls-key", tls.key),
    tls.clientCa === undefined ? null : readPem("--tls-client-ca", tls.clientCa),
  ]);
  return ServerCredentials.createSsl(clientCa, [{ cert_chain: cert, private_key: key }], clientCa !== null);
}

/** @throws Error that names the flag and the file */
export async function readPem(flag: string, path: string): Promise<Buffer> {
  const pem = await readFile(path).catch((error: Error) => {
    throw new Error(`${flag} ${path}: ${error.message}`);
  });
  if (!pem.includes("-----BEGIN ")) throw new Error(`${flag} ${path}: not a PEM file`);
  return pem;
}
