import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $, Glob } from "bun";
import { buildClient } from "../../build/client.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { makeCertificates } from "../serve/certificates.ts";
import { serving, testEngine } from "../serve/serving.ts";

const script = join(import.meta.dir, "node-client.mjs");
const node = Bun.which("node");

let folder: string;
let sdk: string;
let engine: Engine;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kakeya-node-"));
  await buildClient(join(folder, "kakeya-client"));
  sdk = join(folder, "kakeya-client/client/index.js");
  engine = await testEngine();
});
afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

const expected = {
  appended: 100,
  ids: 5,
  stopReason: "max-tokens",
  droppedTokens: 32,
  historyTokens: 105,
  kvLiveBytes: 68 * 3072,
  cancelled: true,
  usableAfterCancel: true,
  notFound: true,
  invalid: true,
  closed: true,
  disposable: "function",
};

test.skipIf(node === null)("the SDK works on Node.js", async () => {
  await using server = await serving({ engine });
  expect(await $`${node} ${script} ${sdk} ${server.address}`.json()).toEqual(expected);
});

test.skipIf(node === null)("and over a unix socket", async () => {
  await using server = await serving({ engine, bind: `unix:${join(folder, "k.sock")}` });
  expect(await $`${node} ${script} ${sdk} ${server.address}`.json()).toEqual(expected);
});

test.skipIf(node === null)("and over TLS, to an address", async () => {
  const { ca, serverCert: cert, serverKey: key } = await makeCertificates(folder);
  await using server = await serving({ engine, tls: { cert, key } });
  expect(await $`${node} ${script} ${sdk} ${server.address} ${ca}`.json()).toEqual(expected);
});

test("the SDK needs nothing of Bun's", async () => {
  const modules = [...new Glob("**/*.js").scanSync(join(folder, "kakeya-client"))];
  expect(modules.length).toBeGreaterThan(2);
  const texts = await Promise.all(modules.map((path) => Bun.file(join(folder, "kakeya-client", path)).text()));
  expect(texts.join("\n").match(/(?:from |require\()"bun[^"]*"|\bBun\.\w+/g)).toBeNull();
});
