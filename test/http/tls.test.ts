import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import type { Engine } from "../../src/engine/engine.ts";
import { rejection } from "../rejection.ts";
import { type Certificates, makeCertificates, makeRsaCertificate } from "../serve/certificates.ts";
import { testEngine, testFolder } from "../serve/serving.ts";
import { servingHttp } from "./serving-http.ts";

let engine: Engine;
let certificates: Certificates;
beforeAll(async () => {
  engine = await testEngine();
  certificates = await makeCertificates(testFolder);
});
afterAll(() => engine.close());

test("the door has the server's certificate, and wants the clients' where gRPC does", async () => {
  const { serverCert: cert, serverKey: key, ca: clientCa, clientCert, clientKey } = certificates;
  await using server = await servingHttp({ engine, tls: { cert, key, clientCa } });
  expect(server.url).toStartWith("https://127.0.0.1:");
  const ca = readFileSync(clientCa, "utf8");
  const own = { ca, cert: readFileSync(clientCert, "utf8"), key: readFileSync(clientKey, "utf8") };
  expect(await (await fetch(`${server.url}/health`, { tls: own })).json()).toEqual({ status: "ok" });
  await rejection(fetch(`${server.url}/health`, { tls: { ca } }));
});

test("a client that knows only old versions, or no forward secrecy, is refused", async () => {
  const { cert, key } = await makeRsaCertificate(testFolder);
  await using server = await servingHttp({ engine, tls: { cert, key } });
  const { hostname: host, port } = new URL(server.url);
  const shake = (options: object) =>
    new Promise<string>((resolve) => {
      const socket = connect({ host, port: Number(port), ca: readFileSync(cert), ...options }, () => {
        resolve(socket.getProtocol() ?? "none");
        socket.destroy();
      });
      socket.once("error", (error) => resolve(`refused: ${error.message}`));
    });
  expect(await shake({})).toBe("TLSv1.3");
  expect(await shake({ maxVersion: "TLSv1.2", ciphers: "ECDHE-RSA-AES128-GCM-SHA256" })).toBe("TLSv1.2");
  expect(await shake({ maxVersion: "TLSv1.2", ciphers: "AES128-GCM-SHA256" })).toStartWith("refused");
  expect(await shake({ minVersion: "TLSv1.1", maxVersion: "TLSv1.1" })).toStartWith("refused");
});
