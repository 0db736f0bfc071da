/** What a run measures: a server that was given or started, and the tokenizer that goes with its model. */

import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolveModel } from "../checkpoint/resolve.ts";
import { windowWarning } from "../checkpoint/window-advice.ts";
import { say } from "../cli/output.ts";
import { oneLine } from "../cli/plain-text.ts";
import { Client, type ClientOptions, type RuntimeInfo, Unauthenticated } from "../client/index.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { clientOptions } from "./connection.ts";
import type { BenchOptions } from "./options.ts";
import { OwnServer } from "./own-server.ts";

export interface Target extends AsyncDisposable {
  address: string;
  /** Where the bench has started it. */
  server: OwnServer | undefined;
  client: Client;
  /** When the run began. */
  info: RuntimeInfo;
  tokenizer: Tokenizer;
}

/**
 * @param logPath of the server that is started; absent: there is one at `options.address`
 * @throws when there is no server, or no tokenizer for its model; then nothing is left running
 */
export async function openTarget(options: BenchOptions, logPath: string | undefined): Promise<Target> {
  await using opened = new AsyncDisposableStack();
  const server =
    logPath === undefined ? undefined : opened.use(await startServer(options, logPath, stateFolder(opened)));
  const address = options.address ?? server?.address ?? "";
  const access = await clientOptions(options);
  const client = opened.use(new Client(address, access));
  const info = await firstAnswer(client, address, options.connectTimeoutS).catch((cause: unknown) => {
    throw new Error(unreachable(address, access, cause), { cause });
  });
  const warning =
    server === undefined ? undefined : windowWarning(resolveModel(options.model, process.env).dir, info.window);
  if (warning !== undefined) say(oneLine(`warning: ${warning}`));
  const tokenizer = tokenizerFor(options, info);
  const parts = opened.move();
  const close = () => parts.disposeAsync();
  return { address, server, client, info, tokenizer, [Symbol.asyncDispose]: close };
}

async function startServer({ kakeya, serverFlags, killTimes }: BenchOptions, logPath: string, stateDir: string) {
  const flags = killTimes === 0 ? serverFlags : [...serverFlags, "--state", stateDir];
  const server = await OwnServer.start({ kakeya, flags, logPath });
  say(`started a server of its own at ${server.address} (pid ${server.pid}, log ${logPath})`);
  return server;
}

/** Gone when the run is. */
function stateFolder(opened: AsyncDisposableStack): string {
  const path = join(tmpdir(), `kakeya-state-${randomUUID()}`);
  opened.defer(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function firstAnswer(client: Client, address: string, timeoutS: number): Promise<RuntimeInfo> {
  const signal = AbortSignal.timeout(Math.min(timeoutS * 1000, 2 ** 31 - 1));
  try {
    return await client.runtimeInfo({ signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Error(`${address} took the connection and did not answer within ${timeoutS} s`);
  }
}

/** Why there is no server to measure, and what to do. */
function unreachable(address: string, { tls, token }: ClientOptions, cause: unknown): string {
  if (cause instanceof Unauthenticated) {
    return token === undefined
      ? `the server at ${address} wants its token: give it with --token-file, --token or KAKEYA_TOKEN`
      : `the server at ${address} refused the token that it was sent: it has another one`;
  }
  const why = cause instanceof Error ? cause.message : cause;
  const advice = 'start one with "kakeya serve", or leave out --address';
  const secure = tls === undefined ? "; a server with TLS is reached with --tls-ca" : "";
  return `no kakeya server answers at ${address}: ${why}; ${advice}${secure}`;
}

/** The tokenizer asked for, or that of the model that is served. */
function tokenizerFor({ tokenizer, model }: BenchOptions, info: RuntimeInfo): Tokenizer {
  const asked = tokenizer ?? model;
  if (asked !== undefined) return loadTokenizer(resolveModel(asked, process.env).dir, info.vocabSize);
  const embedded = resolveModel(undefined, process.env);
  try {
    const { dir } = info.modelId === embedded.modelId ? embedded : resolveModel(info.modelId, process.env);
    return loadTokenizer(dir, info.vocabSize);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new Error(`no tokenizer for the served model ${info.modelId}: ${why}. Name one with --tokenizer`, { cause });
  }
}
