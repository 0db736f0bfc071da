import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

export interface TokenSources {
  /** `--token` */
  flag?: string | undefined;
  /** `--token-file`; "-" is the standard input. */
  file?: string | undefined;
  /** `KAKEYA_TOKEN` */
  environment?: string | undefined;
}

/** The token that clients must send: the flag's, else the file's, else the environment's; undefined for none. */
export async function tokenFrom({ flag, file, environment }: TokenSources): Promise<string | undefined> {
  const token = flag ?? (file === undefined ? environment : await tokenInFile(file));
  if (token === undefined || token === "") return undefined;
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Error("the token must be printable ASCII without spaces");
  return token;
}

async function tokenInFile(path: string): Promise<string> {
  const reading = path === "-" ? firstLine(process.stdin) : readFile(path, "utf8");
  const text = await reading.catch((error: Error) => {
    throw new Error(`--token-file ${path}: ${error.message}`);
  });
  const token = text.trim();
  if (token === "") throw new Error(`--token-file ${path}: it is empty`);
  return token;
}

/** Up to Enter: a terminal has no end that a person knows. */
async function firstLine(input: NodeJS.ReadableStream): Promise<string> {
  using lines = createInterface({ input });
  for await (const line of lines) return line;
  return "";
}
