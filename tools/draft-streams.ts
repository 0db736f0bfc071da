/** Token streams of real text, as a model would have read and written them. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Tokenizer } from "../src/text/tokenizer.ts";

/** Ids that a session reads, or that it generates. */
export interface Segment {
  generated: boolean;
  ids: Uint32Array;
}

export interface Stream {
  name: string;
  segments: Segment[];
}

export const kinds = ["prose", "code edits", "JSON tool calls", "logs"] as const;
export type Kind = (typeof kinds)[number];

const root = join(import.meta.dir, "..");
/** Of a file that is edited: more would not fit beside its new text into what a drafter remembers. */
const mostFileChars = 8000;
/** Of one text. */
const mostChars = 24_000;
const mostStreams = 24;

/** The streams of one kind; those whose files this machine doesn't have are left out. */
export function streamsOf(kind: Kind, tokenizer: Tokenizer): Stream[] {
  const written = (text: string): Segment => ({ generated: true, ids: tokenizer.encode(text) });
  const read = (text: string): Segment => ({ generated: false, ids: tokenizer.encode(text) });
  switch (kind) {
    case "prose":
      return proseFiles().map((name) => ({ name, segments: [written(textOf(name))] }));
    case "logs":
      return logs().map(({ name, text }) => ({ name, segments: [written(text.slice(0, mostChars))] }));
    case "code edits":
      return edits().map(({ name, path, before, after }) => ({
        name,
        segments: [read(`${path}:\n\`\`\`ts\n${before}\`\`\`\n`), written(`\`\`\`ts\n${after}\`\`\``)],
      }));
    case "JSON tool calls":
      return edits().map(({ name, path, before, hunks }) => ({
        name,
        segments: [
          written(call("read_file", { path })),
          read(before),
          ...hunks.map(([old, text]) => written(call("edit_file", { path, old_string: old, new_string: text }))),
        ],
      }));
  }
}

function call(name: string, args: Record<string, string>): string {
  return `<tool_call>\n${JSON.stringify({ name, arguments: args })}\n</tool_call>\n`;
}

function textOf(name: string): string {
  const bytes = readFileSync(name.startsWith("/") ? name : join(root, name));
  return (name.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString().slice(0, mostChars);
}

function proseFiles(): string[] {
  const names = [
    ..."README.md docs/cache.md docs/operations.md docs/wire-contract.md CONTRIBUTING.md".split(" "),
    ...["fast-check/README.md", "protobufjs/README.md", "nice-grpc/README.md", "prom-client/README.md"].map(
      (name) => `node_modules/${name}`,
    ),
    ...["GPL-3", "Apache-2.0", "GFDL-1.3"].map((name) => `/usr/share/common-licenses/${name}`),
    ...[
      "nodejs/README.md",
      "systemd/README.gz",
      "libjpeg-dev/README.md.gz",
      "gdb/README.gz",
      "dpkg/spec/triggers.txt",
    ].map((name) => `/usr/share/doc/${name}`),
  ];
  return names.filter((name) => existsSync(name.startsWith("/") ? name : join(root, name)));
}

/** What real programs say, and what they said when this machine was set up. */
function logs(): { name: string; text: string }[] {
  const commands = [
    ["git", "log", "--stat", "-60"],
    ["npm", "ls", "--all"],
    ["npm", "view", "--offline", "--loglevel", "silly", "fast-check"],
    [process.execPath, "test", "test/kv", "test/cli"],
    ["ls", "-lR", "node_modules/onnxruntime-node", "src"],
    ["ps", "-eo", "pid,ppid,stat,etime,comm"],
  ];
  const outputs = commands.map((command) => {
    const { stdout, stderr } = Bun.spawnSync(command, { cwd: root });
    const name = command.join(" ").replace(process.execPath, "bun");
    return { name, text: `${stdout}${stderr}` };
  });
  const files = ["/var/log/dpkg.log", "/var/log/alternatives.log", "/var/log/fontconfig.log"];
  return [...outputs, ...files.filter(existsSync).map((name) => ({ name, text: textOf(name) }))].filter(
    ({ text }) => text.length > 500,
  );
}

interface Edit {
  name: string;
  path: string;
  before: string;
  after: string;
  /** Old and new text of each place that changed. */
  hunks: [string, string][];
}

/** Changes of this repository's own source files, spread evenly over its history. */
function edits(): Edit[] {
  const changes = git("log", "--no-merges", "--diff-filter=M", "--name-only", "--format=%H", "--", "src", "commands")
    .split(/\n(?=[0-9a-f]{40}\n)/)
    .flatMap((entry) => {
      const [commit = "", , ...paths] = entry.trim().split("\n");
      return paths.filter((path) => path.endsWith(".ts") && !path.includes("/gen/")).map((path) => ({ commit, path }));
    });
  const found: Edit[] = [];
  const every = Math.max(1, Math.floor(changes.length / (2 * mostStreams)));
  for (let i = 0; i < changes.length && found.length < mostStreams; i += every) {
    const { commit, path } = changes[i] ?? { commit: "", path: "" };
    const [before, after] = [git("show", `${commit}~1:${path}`), git("show", `${commit}:${path}`)];
    if (before.length > mostFileChars || after.length > mostFileChars || before.length < 1000) continue;
    const hunks = hunksOf(git("diff", "-U1", `${commit}~1`, commit, "--", path));
    found.push({ name: `${commit.slice(0, 7)} ${path}`, path, before, after, hunks });
  }
  return found;
}

function hunksOf(diff: string): [string, string][] {
  const bodies = diff.split(/^@@.*@@.*\n/m).slice(1);
  return bodies.map((body) => {
    const lines = body.split("\n").filter((line) => /^[ +-]/.test(line));
    const side = (sign: string) =>
      lines.flatMap((line) => (line.startsWith(" ") || line.startsWith(sign) ? [line.slice(1)] : [])).join("\n");
    return [side("-"), side("+")];
  });
}

function git(...args: string[]): string {
  return Bun.spawnSync(["git", ...args], { cwd: root }).stdout.toString();
}
