import { join } from "node:path";
import { $ } from "bun";

export interface Certificates {
  ca: string;
  serverCert: string;
  serverKey: string;
  clientCert: string;
  clientKey: string;
}

/** An authority, and certificates of it for a server at 127.0.0.1 and for a client: PEM files in `folder`. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const at = (name: string) => join(folder, name);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  await $`openssl req -x509 ${newKey} -keyout ${at("ca.key")} -out ${at("ca.pem")} -subj /CN=test-ca`.quiet();
  for (const name of ["server", "client"]) {
    const signed = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-addext", "subjectAltName=IP:127.0.0.1"];
    await $`openssl req -x509 ${newKey} ${signed} -keyout ${at(`${name}.key`)} -out ${at(`${name}.pem`)} -subj ${`/CN=${name}`}`.quiet();
  }
  return {
    ca: at("ca.pem"),
    serverCert: at("server.pem"),
    serverKey: at("server.key"),
    clientCert: at("client.pem"),
    clientKey: at("client.key"),
  };
}

/** A certificate of its own, with the kind of key that TLS 1.2 can exchange without forward secrecy. */
export async function makeRsaCertificate(folder: string): Promise<{ cert: string; key: string }> {
  const [cert, key] = [join(folder, "rsa.pem"), join(folder, "rsa.key")];
  const subject = ["-subj", "/CN=rsa", "-addext", "subjectAltName=IP:127.0.0.1"];
  await $`openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ${key} -out ${cert} ${subject}`.quiet();
  return { cert, key };
}
