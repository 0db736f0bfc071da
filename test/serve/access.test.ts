import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { Unauthenticated, Unavailable } from "../../src/client/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { ServerOptions } from "../../src/host/options.ts";
import { rejection } from "../rejection.ts";
import { type Certificates, makeCertificates, makeRsaCertificate } from "./certificates.ts";
import { serving, testEngine, testFolder } from "./serving.ts";
import { dial, failureOf } from "./wire.ts";

let engine: Engine;
let certificates: Certificates;
beforeAll(async () => {
  engine = await testEngine();
  certificates = await makeCertificates(testFolder);
});
afterAll(() => engine.close());

const serve = (options: Partial<ServerOptions>) => serving({ engine, ...options });

describe("a bearer token", () => {
  const token = "correct-horse";

  test("lets those in who send it, and nobody else", async () => {
    await using server = await serve({ token });
    expect((await server.connect({ token }).runtimeInfo()).modelId).toBe("kakeya-tiny");
    for (const wrong of [undefined, "", "correct-hors", "correct-horse-2", "Correct-Horse", "x".repeat(7000)]) {
      const client = server.connect(wrong === undefined ? {} : { token: wrong });
      const error = await rejection(client.runtimeInfo());
      expect(error).toBeInstanceOf(Unauthenticated);
      expect(error.message).toContain(wrong ? "the bearer token was refused" : "this server wants the metadata");
      expect(await rejection(client.createSession())).toBeInstanceOf(Unauthenticated);
    }
    expect(server.server.store.activeCount).toBe(0);
  });

  test("may come in any case of `Bearer`, and only so", async () => {
    await using server = await serve({ token });
    for (const authorization of [`bearer ${token}`, `BEARER ${token}`]) {
      using wire = dial(server.address, { authorization });
      expect(await failureOf(wire.rpc.getRuntimeInfo({}))).toBeUndefined();
    }
    for (const authorization of [token, `Basic ${token}`, `Bearer  ${token}`]) {
      using wire = dial(server.address, { authorization });
      expect((await failureOf(wire.rpc.getRuntimeInfo({})))?.status).toBe("UNAUTHENTICATED");
    }
  });

  test("is a must where other machines can connect", async () => {
    for (const bind of ["0.0.0.0:0", "[::]:0", "10.1.2.3:0", "example.org:0"]) {
      expect((await rejection(serve({ bind }))).message).toContain(`--bind ${bind} lets other machines in`);
    }
    await using server = await serve({ bind: "0.0.0.0:0", token });
    expect(server.address).toMatch(/^0\.0\.0\.0:\d+$/);
  });
});

describe("where it listens", () => {
  test("a unix socket, for this user alone, gone when the server is", async () => {
    const path = join(testFolder, "kakeya.sock");
    {
      await using server = await serve({ bind: `unix:${path}` });
      expect(server.address).toBe(`unix:${path}`);
      expect((await server.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
      expect(statSync(path).mode & 0o777).toBe(0o600);
    }
    expect(existsSync(path)).toBe(false);
  });

  test("a unix socket that a killed server left behind is taken over; one that answers is not", async () => {
    const path = join(testFolder, "stale.sock");
    const listen = "Bun.listen({ unix: process.argv[1], socket: { data() {} } }); console.log()";
    const left = Bun.spawn([process.execPath, "-e", listen, path], { stdout: "pipe" });
    await left.stdout.getReader().read();
    expect((await rejection(serve({ bind: `unix:${path}` }))).message).toContain(`--bind unix:${path}`);
    left.kill("SIGKILL");
    await left.exited;
    await using server = await serve({ bind: `unix:${path}` });
    expect((await server.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
  });

  test("IPv6 loopback, in brackets", async () => {
    await using server = await serve({ bind: "[::1]:0" });
    expect(server.address).toMatch(/^\[::1\]:\d+$/);
    expect((await server.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
  });

  test("a port in use is named", async () => {
    const squatter = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => squatter.once("listening", resolve));
    const address = squatter.address();
    const bind = `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
    expect((await rejection(serve({ bind }))).message).toMatch(new RegExp(`^--bind ${bind}: .*EADDRINUSE`));
    squatter.close();
  });

  test.each(["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x", "::1:50051", "unix:relative.sock"])(
    "%p is refused as no address",
    async (bind) => {
      expect((await rejection(serve({ bind }))).message).toContain(`--bind ${bind}: `);
    },
  );
});

describe("TLS", () => {
  const ca = () => readFileSync(certificates.ca);

  test("serves those who trust its certificate, and no plain text", async () => {
    await using server = await serve({ tls: { cert: certificates.serverCert, key: certificates.serverKey } });
    expect((await server.connect({ tls: { ca: ca() } }).runtimeInfo()).modelId).toBe("kakeya-tiny");
    expect(await rejection(server.connect({ tls: true }).runtimeInfo())).toBeInstanceOf(Unavailable);
    expect(await rejection(server.connect().runtimeInfo())).toBeInstanceOf(Unavailable);
  });

  test("can be trusted by its own certificate, and by no other of the same authority", async () => {
    await using server = await serve({ tls: { cert: certificates.serverCert, key: certificates.serverKey } });
    const trusting = (path: string) => server.connect({ tls: { ca: readFileSync(path) } });
    expect((await trusting(certificates.serverCert).runtimeInfo()).modelId).toBe("kakeya-tiny");
    expect(await rejection(trusting(certificates.clientCert).runtimeInfo())).toBeInstanceOf(Unavailable);
  });

  test("with a client authority, serves those alone who show a certificate of it", async () => {
    const { serverCert, serverKey, clientCert, clientKey } = certificates;
    await using server = await serve({ tls: { cert: serverCert, key: serverKey, clientCa: certificates.ca } });
    const own = { ca: ca(), cert: readFileSync(clientCert), key: readFileSync(clientKey) };
    expect((await server.connect({ tls: own }).runtimeInfo()).modelId).toBe("kakeya-tiny");
    expect(await rejection(server.connect({ tls: { ca: ca() } }).runtimeInfo())).toBeInstanceOf(Unavailable);
  });

  test("a handshake that fails is logged, once for many", async () => {
    await using server = await serve({ tls: { cert: certificates.serverCert, key: certificates.serverKey } });
    for (let i = 0; i < 3; i++) await rejection(server.connect().runtimeInfo());
    const warnings = server.logged.filter((line) => line.includes("TLS handshake failed"));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/reason="ERR_SSL_\w+" peer="127.0.0.1"/);
  });

  test("a client that knows only RSA key exchange is refused: without forward secrecy a stolen key opens the past", async () => {
    const { cert, key } = await makeRsaCertificate(testFolder);
    await using server = await serve({ tls: { cert, key } });
    const shake = (ciphers: string) =>
      new Promise<string>((resolve) => {
        const [host = "", port = ""] = server.address.split(":");
        const ca = readFileSync(cert);
        const socket = connectTls({
          host,
          port: Number(port),
          ca,
          ciphers,
          maxVersion: "TLSv1.2",
          ALPNProtocols: ["h2"],
        });
        socket.on("secureConnect", () => {
          resolve(socket.getCipher().name);
          socket.destroy();
        });
        socket.on("error", () => resolve("refused"));
      });
    expect(await shake("AES128-GCM-SHA256:AES256-SHA")).toBe("refused");
    expect(await shake("ECDHE-RSA-AES128-SHA")).toBe("refused");
    expect(await shake("ECDHE-RSA-AES128-GCM-SHA256")).toBe("ECDHE-RSA-AES128-GCM-SHA256");
  });

  test("a file that is missing or no PEM is named with its option", async () => {
    const text = join(testFolder, "not.pem");
    writeFileSync(text, "hello");
    const { serverCert, serverKey } = certificates;
    for (const [tls, message] of [
      [{ cert: "/nowhere.pem", key: serverKey }, "--tls-cert /nowhere.pem: ENOENT"],
      [{ cert: serverCert, key: text }, `--tls-key ${text}: not a PEM file`],
      [{ cert: serverCert, key: serverKey, clientCa: text }, `--tls-client-ca ${text}: not a PEM file`],
    ] as const) {
      expect((await rejection(serve({ tls }))).message).toContain(message);
    }
  });
});
