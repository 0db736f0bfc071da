import { readFile } from "node:fs/promises";

/** PEM files. */
export interface TlsFiles {
  cert: string;
  key: string;
  /** Clients must show a certificate that this authority signed. */
  clientCa?: string;
}

/** What the files hold, as node:tls takes it. */
export interface TlsSettings {
  cert: Buffer;
  key: Buffer;
  ca?: Buffer;
  requestCert: boolean;
  rejectUnauthorized: boolean;
  minVersion: "TLSv1.2";
  ciphers: string;
}

/** For TLS 1.2, whose other suites lack forward secrecy (RSA key exchange) or authenticated encryption (RFC 9325, 4.2). */
const tls12Ciphers = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"].flatMap((cipher) => [
  `ECDHE-ECDSA-${cipher}`,
  `ECDHE-RSA-${cipher}`,
]);

/** @throws Error that names the option whose file can't be read, or is not a PEM file */
export async function readTls({ cert, key, clientCa }: TlsFiles): Promise<TlsSettings> {
  const [certPem, keyPem, caPem] = await Promise.all([
    readPem("--tls-cert", cert),
    readPem("--tls-key", key),
    clientCa === undefined ? undefined : readPem("--tls-client-ca", clientCa),
  ]);
  return {
    cert: certPem,
    key: keyPem,
    ...(caPem === undefined ? {} : { ca: caPem }),
    requestCert: caPem !== undefined,
    rejectUnauthorized: caPem !== undefined,
    minVersion: "TLSv1.2",
    ciphers: tls12Ciphers.join(":"),
  };
}

/** @throws Error that names the flag and the file */
export async function readPem(flag: string, path: string): Promise<Buffer> {
  const pem = await readFile(path).catch((error: Error) => {
    throw new Error(`${flag} ${path}: ${error.message}`);
  });
  if (!pem.includes("-----BEGIN ")) throw new Error(`${flag} ${path}: not a PEM file`);
  return pem;
}
