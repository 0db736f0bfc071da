import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { contentHash } from "../src/cache/unpack.ts";

/** Source of a module part that embeds files: imports to stand on top, and a list as an expression. */
export function embed(paths: readonly string[]): { imports: string; list: string } {
  const imports = paths.map((path, i) => `import file${i} from ${JSON.stringify(path)} with { type: "file" };`);
  const entries = paths.map((path, i) => {
    const bytes = readFileSync(path);
    const facts = { name: basename(path), bytes: bytes.length, hash: contentHash(bytes) };
    return `{ source: file${i}, ...${JSON.stringify(facts)} }`;
  });
  return { imports: imports.join("\n"), list: `[${entries.join(", ")}]` };
}
