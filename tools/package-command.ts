import { join, resolve } from "node:path";

const bin = resolve(import.meta.dir, "../node_modules/.bin");

/** The words that run a package's command by Bun: its own first line asks for Node.js, which need not be there. */
export function packageCommand(name: string): string[] {
  return [process.execPath, join(bin, name)];
}
