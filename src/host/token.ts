import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { UsageError } from "../cli/exit.ts";

export interface TokenSources {
  /** `--token` */
  flag?: string | undefined;
  /** `--token-file`; "-" is the standard input. */
  file?: string | undefined;
  /** `KAKEYA_TOKEN` */
  environment?: string | undefined;
}

/**
 * The bearer token: the flag's, else the file's, else the environment's; undefined for none.
 * @throws UsageError for an empty token, which would silently mean none, and for one that no header can carry
 */
export async function tokenFrom({ flag, file, environment }: TokenSources): Promise<string | undefined> {
  if (flag !== undefined) return checked("--token", flag);
  if (file !== undefined) return checked(`--token-file ${file}`, await tokenInFile(file));
  return environment === undefined ? undefined : checked("KAKEYA_TOKEN", environment);
}

function checked(source: string, token: string): string {
  if (token === "") throw new UsageError(`${source}: the token is empty; give one, or leave it out for none`);
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new UsageError(`${source}: the token must be printable ASCII without spaces`);
  }
  return token;
}

async function tokenInFile(path: string): Promise<string> {
  const reading = path === "-" ? firstLine(process.stdin) : readFile(path, "utf8");
  const text = await reading.catch((error: Error) => {
    throw new Error(`--token-file ${path}: ${error.message}`);
  });
  return text.trim();
}

/** Up to Enter: few people know how to end a terminal's input. */
async function firstLine(input: NodeJS.ReadableStream): Promise<string> {
  using lines = createInterface({ input });
  for await (const line of lines) return line;
  return "";
}
