import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { packageCommand } from "../../tools/package-command.ts";
import { type Serving, serving } from "./serving.ts";

const root = join(import.meta.dir, "../..");

let server: Serving;
beforeAll(async () => {
  server = await serving();
});
afterAll(() => server[Symbol.asyncDispose]());

const python = "/usr/bin/python3";
const hasPythonGrpc = (await $`${python} -c "import grpc, grpc_tools"`.nothrow().quiet()).exitCode === 0;

test.skipIf(!hasPythonGrpc)(
  "Python's grpcio, generated from the first contract, works unchanged",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "kakeya-python-"));
    const contract = await Bun.file(join(root, "test/gen/first-contract/kakeya/v1/runtime.proto")).text();
    // Debian's protoc is older than `optional` in proto3, which is the same on the wire.
    await Bun.write(join(folder, "kakeya/v1/runtime.proto"), contract.replaceAll(/^ {2}optional /gm, "  "));
    const script = join(import.meta.dir, "independent_client.py");
    const said = await $`${python} ${script} ${server.address} ${folder} ${folder}`.json();
    rmSync(folder, { recursive: true });
    expect(said).toEqual({
      appended: 100,
      events: ["truncated", "token_id", "token_id", "token_id", "token_id", "done"],
      dropped: 32,
      generated: 4,
      stop_reason: "STOP_REASON_MAX_TOKENS",
      history: 104,
      live_bytes: 68 * 3072,
      violations: 0,
      timed_out: "DEADLINE_EXCEEDED",
      grew_after_cancel: true,
      closed: "NOT_FOUND",
      bad_id: "INVALID_ARGUMENT",
    });
  },
  60_000,
);

/** buf is written in Go, and learns the contract from the server's reflection. */
async function bufCurl(method: string, request: object): Promise<{ json: Record<string, unknown>[]; stderr: string }> {
  const url = `http://${server.address}/kakeya.v1.RuntimeService/${method}`;
  const buf = packageCommand("buf");
  const { stdout, stderr } =
    await $`${buf} curl --protocol grpc --http2-prior-knowledge --data ${JSON.stringify(request)} ${url}`
      .nothrow()
      .quiet();
  const json = stdout.toString() === "" ? [] : JSON.parse(`[${stdout.toString().replaceAll(/^\}\s*\{/gm, "},{")}]`);
  return { json, stderr: stderr.toString() };
}

test("reflection lists every service, health too", async () => {
  const url = `http://${server.address}`;
  const listed =
    await $`${packageCommand("buf")} curl --protocol grpc --http2-prior-knowledge --list-services ${url}`.text();
  expect(listed.trim().split("\n").sort()).toEqual(["grpc.health.v1.Health", "kakeya.v1.RuntimeService"]);
}, 60_000);

test("a tool reaches a server with a token as docs/wire-contract.md says", async () => {
  await using guarded = await serving({ token: "s3cret" });
  const folder = mkdtempSync(join(tmpdir(), "kakeya-headers-"));
  const headers = join(folder, "headers.txt");
  await Bun.write(headers, "authorization: Bearer s3cret\n");
  const url = `http://${guarded.address}/kakeya.v1.RuntimeService/GetRuntimeInfo`;
  const curl = [packageCommand("buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge"];
  const info = await $`${curl} -H @${headers} --reflect-header ${"*"} ${url}`.json();
  rmSync(folder, { recursive: true });
  expect(info.modelId).toBe("kakeya-tiny");
  expect((await $`${curl} ${url}`.nothrow().quiet()).exitCode).toBe(1);
}, 60_000);

test("buf curl works with what reflection tells it", async () => {
  const [created] = (await bufCurl("CreateSession", { clientLabel: "buf" })).json;
  const sessionId = created?.sessionId;
  expect((await bufCurl("AppendTokens", { sessionId, tokenIds: [1, 2, 3] })).json).toEqual([{ historyLength: "3" }]);
  const events = (await bufCurl("Generate", { sessionId, maxTokens: 2 })).json;
  expect(events.map((event) => Object.keys(event)[0])).toEqual(["tokenId", "tokenId", "done"]);
  expect(events[2]?.done).toMatchObject({ stopReason: "STOP_REASON_MAX_TOKENS", generatedTokenCount: 2 });
  expect((await bufCurl("GetSessionInfo", { sessionId })).json).toMatchObject([
    { historyLength: "5", computedTokenTotal: "5", generatedTokenTotal: "2" },
  ]);
  expect((await bufCurl("CloseSession", { sessionId })).json).toEqual([{ finalHistoryLength: "5" }]);
  expect((await bufCurl("CloseSession", { sessionId })).stderr).toContain("not_found");
}, 60_000);
