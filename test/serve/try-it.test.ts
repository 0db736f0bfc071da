import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { benchWords } from "../../src/host/try-it.ts";
import { kakeya } from "../program.ts";
import { scratchDir } from "../scratch.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";

setDefaultTimeout(120_000);

const root = join(import.meta.dir, "../..");
const scratch = scratchDir();
const home = join(scratch.path, "where it is served");
const elsewhere = join(scratch.path, "another terminal");
let certificates: Certificates;
beforeAll(async () => {
  for (const folder of [home, elsewhere]) mkdirSync(folder);
  certificates = await makeCertificates(home);
  writeFileSync(join(home, "token"), "s3cret\n");
  cpSync(join(root, "models/kakeya-tiny"), join(home, "my model"), { recursive: true });
});
afterAll(() => scratch[Symbol.dispose]());

interface Case {
  flags: string[];
  environment?: Record<string, string>;
  /** What the person at the other terminal types. */
  typed?: string;
}

/** Serves with these flags, and runs the suggested line in another folder, made shorter. */
async function tried({ flags, environment = {}, typed = "" }: Case) {
  const env = { ...process.env, ...environment };
  const options = { cwd: home, env, stdin: "ignore", stdout: "pipe", stderr: "pipe" } as const;
  const bind = flags.includes("--bind") ? [] : ["--bind", "127.0.0.1:0"];
  const server = Bun.spawn([...kakeya, "serve", "--http", "off", ...bind, ...flags], options);
  const stderr = new Response(server.stderr).text();
  try {
    const { value } = await server.stdout.getReader().read();
    const line = new TextDecoder().decode(value);
    const suggested = / \| try: (.*)\n$/.exec(line)?.[1] ?? `echo no suggestion in ${await stderr}`;
    const shorter = suggested.replace(/ --duration 1m$/, " --turns 2 --turn-spacing 0 --warm-up 0 --output run.json");
    const input = { ...options, cwd: elsewhere, stdin: new Blob([typed]) };
    const bench = Bun.spawn(["sh", "-c", shorter], input);
    const said = await new Response(bench.stderr).text();
    return { code: await bench.exited, said, suggested };
  } finally {
    server.kill();
    await server.exited;
  }
}

const done = { code: 0, said: "" };

test("over TLS, with the server's own certificate", async () => {
  const flags = ["--tls-cert", "server.pem", "--tls-key", "server.key"];
  const { suggested, ...ended } = await tried({ flags });
  expect(ended).toEqual(done);
  expect(suggested).toContain(`--tls-ca '${certificates.serverCert}'`);
});

test("over TLS to a server that wants certificates of its own authority, with a token that is typed", async () => {
  const tls = ["--tls-cert", "server.pem", "--tls-key", "server.key", "--tls-client-ca", "ca.pem"];
  const { suggested, ...ended } = await tried({ flags: [...tls, "--token", "s3cret"], typed: "s3cret\n" });
  expect(ended).toEqual(done);
  expect(suggested).not.toContain("s3cret");
});

test("at every address of a machine, with a token from a file", async () => {
  const { suggested, ...ended } = await tried({ flags: ["--bind", "0.0.0.0:0", "--token-file", "token"] });
  expect(ended).toEqual(done);
  expect(suggested).toContain("--address 127.0.0.1:");
});

test("at a unix socket whose path has a blank, with a token from the environment", async () => {
  const flags = ["--bind", `unix:${home}/k.sock`];
  expect(await tried({ flags, environment: { KAKEYA_TOKEN: "s3cret" } })).toMatchObject(done);
});

test("with a model from a folder, from another folder", async () => {
  const { suggested, ...ended } = await tried({ flags: ["--model", "my model", "--window", "64"] });
  expect(ended).toEqual(done);
  expect(suggested).toContain(`--tokenizer '${home}/my model'`);
});

test("names files to replace where it can't know the client's certificate, and never fails", async () => {
  const pair = { "tls-cert": certificates.serverCert, "tls-key": certificates.serverKey };
  const others = scratchDir();
  const foreign = await makeCertificates(others.path);
  for (const authority of [foreign.ca, join(home, "token"), "/nowhere"]) {
    const words = benchWords({ ...pair, "tls-client-ca": authority }, "127.0.0.1:1");
    expect(words.join(" ")).toContain(" --tls-cert CLIENT.pem --tls-key CLIENT.key ");
  }
  expect(benchWords({ "tls-cert": "/nowhere" }, "[::]:1").join(" ")).toContain("--address [::1]:1 --tls-ca /nowhere");
  others[Symbol.dispose]();
});
