/** What a run measures: a server that was given or started, and the tokenizer that goes with its model. */

import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { say } from "../cli/output.ts";
import type { RuntimeInfo } from "../client/index.ts";
import { type Connected, connect } from "../connection/connect.ts";
import { servedModelDir } from "../text/served-model.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import type { BenchOptions } from "./options.ts";

export interface Target extends Connected {
  tokenizer: Tokenizer;
}

/**
 * @param logPath of the server that is started where `options` have no address
 * @throws when there is no server, or no tokenizer for its model; then nothing is left running
 */
export async function openTarget(options: BenchOptions, logPath: string | undefined): Promise<Target> {
  await using opened = new AsyncDisposableStack();
  const { kakeya, model, serverFlags, killTimes } = options;
  const flags = killTimes === 0 ? serverFlags : [...serverFlags, "--state", stateFolder(opened)];
  const connected = opened.use(await connect(options, { kakeya, model, flags, logPath: logPath ?? "" }));
  const { server } = connected;
  if (server) say(`started a server of its own at ${server.address} (pid ${server.pid}, log ${logPath})`);
  const tokenizer = tokenizerFor(options, connected.info);
  const parts = opened.move();
  return { ...connected, tokenizer, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

/** Stopped with the run. */
function stateFolder(opened: AsyncDisposableStack): string {
  const path = join(tmpdir(), `kakeya-state-${randomUUID()}`);
  opened.defer(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The tokenizer that was asked for, or the served model's own. */
function tokenizerFor({ tokenizer, model }: BenchOptions, info: RuntimeInfo): Tokenizer {
  const asked = tokenizer ?? model;
  try {
    return loadTokenizer(servedModelDir(info.modelId, asked, process.env), info.vocabSize);
  } catch (cause) {
    if (asked !== undefined) throw cause;
    const why = cause instanceof Error ? cause.message : cause;
    throw new Error(`no tokenizer for the served model ${info.modelId}: ${why}. Name one with --tokenizer`, { cause });
  }
}
