/** Who may import whom: the floor plan of src/. A new import that it does not have is a decision, taken here. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, resolve } from "node:path";
import { Glob } from "bun";

const root = resolve(import.meta.dir, "..");

const mayImport: Readonly<Record<string, readonly string[]>> = {
  cli: [],
  files: [],
  gen: [],
  kv: [],
  cache: ["files"],
  checkpoint: ["cache", "files"],
  graph: ["checkpoint", "files"],
  text: ["checkpoint"],
  ort: ["cache"],
  devices: ["graph", "ort"],
  engine: ["cache", "checkpoint", "files", "graph", "kv", "ort"],
  state: ["files"],
  session: ["engine", "state"],
  host: ["cli", "engine", "session"],
  grpc: ["engine", "gen", "host", "session"],
  http: ["engine", "host", "session", "text"],
  serve: ["devices", "engine", "gen", "grpc", "host", "http", "ort", "session", "state", "text"],
  client: ["gen"],
  chat: ["checkpoint", "client", "text"],
  report: ["cli", "files"],
  connection: ["checkpoint", "cli", "client", "files", "host"],
  terminal: ["chat", "cli", "client", "connection"],
  bench: ["checkpoint", "cli", "client", "connection", "files", "report", "text"],
};

/** The modules that a source names, packages too. */
function importsOf(source: string): string[] {
  const pattern = /(?:\bfrom\s+|\bimport\s+|\bimport\(\s*|new URL\(\s*)"([^"]+)"/g;
  return [...source.matchAll(pattern)].map((found) => found[1] ?? "");
}

/** `src/kv/slab.ts` imports `../engine/core.ts`: the rooms `kv` and `engine`. */
function roomsOf(file: string, imported: string): { from: string; to: string } {
  const room = (path: string) => /^src\/([^/]+)\//.exec(path)?.[1] ?? "";
  return { from: room(file), to: room(normalize(join(dirname(file), imported))) };
}

function faults(file: string, source: string): string[] {
  return importsOf(source).flatMap((imported) => {
    if (!imported.startsWith(".")) {
      const isRuntime = imported === "onnxruntime-node" && !file.startsWith("src/ort/");
      const isPure = file.startsWith("src/kv/");
      return isRuntime || isPure ? [`${file} imports ${imported}`] : [];
    }
    const { from, to } = roomsOf(file, imported);
    if (to === "" || to === from || mayImport[from]?.includes(to)) return [];
    return [`${file} imports ${imported}: ${from} may not import ${to}`];
  });
}

const sources = [...new Glob("src/*/**/*.ts").scanSync(root)];

test("no room imports another than the floor plan says, and onnxruntime-node has one door", () => {
  expect(sources.length).toBeGreaterThan(100);
  expect(sources.flatMap((file) => faults(file, readFileSync(join(root, file), "utf8")))).toEqual([]);
});

test.each([
  ["src/kv/slab.ts", 'import { x } from "../engine/core.ts";', "kv may not import engine"],
  ["src/session/store.ts", 'const { y } = await import("../grpc/status.ts");', "session may not import grpc"],
  ["src/engine/core.ts", 'import { Tensor } from "onnxruntime-node";', "imports onnxruntime-node"],
  ["src/kv/rows.ts", 'import "node:fs";', "imports node:fs"],
])("a wrong import is found: %s", (file, source, message) => {
  expect(faults(file, source)).toEqual([expect.stringContaining(message)]);
});

test("the floor plan has no room that is not there, and none that imports itself in a circle", () => {
  const rooms = readdirSync(join(root, "src"), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
  expect(rooms.filter((room) => !(room in mayImport))).toEqual([]);
  const reaches = (from: string, seen: readonly string[]): void => {
    for (const to of mayImport[from] ?? []) {
      expect([...seen, from]).not.toContain(to);
      reaches(to, [...seen, from]);
    }
  };
  for (const room of rooms) reaches(room, []);
});

test("CONTRIBUTING says of each room what is changed there", () => {
  const table = readFileSync(join(root, "CONTRIBUTING.md"), "utf8");
  const rooms = new Set(sources.map((file) => file.split("/")[1]));
  expect([...rooms].filter((room) => !table.includes(`\`src/${room}\``))).toEqual([]);
});
