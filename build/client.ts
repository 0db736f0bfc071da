import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { BunPlugin } from "bun";
import { packageCommand } from "../tools/package-command.ts";
import { licensesOfFiles } from "./licenses.ts";
import { emptyPackage, manifest } from "./npm-package.ts";

const root = resolve(import.meta.dir, "..");

/** The package's modules, and the rooms of src/ that they are. */
const rooms = { ".": "client", "./chat": "chat" } as const;

const readme = `# kakeya-client

The TypeScript client of [kakeya](https://www.npmjs.com/package/kakeya), a local LLM runtime whose sessions never slow
down and never grow. For Node.js 20 and later, and for Bun.

\`\`\`ts
import { Client } from "kakeya-client";

const client = new Client("127.0.0.1:50051");
const session = await client.createSession();
await session.append([1, 2, 3]); // ids from the model's tokenizer
for await (const id of session.generate({ maxTokens: 64 })) console.log(id);
await session.close();
client.close();
\`\`\`

In text, where the model's tokenizer and chat template are on this machine (those of the embedded model are in here):

\`\`\`ts
import { Chat } from "kakeya-client/chat";

const chat = await Chat.open(client);
for await (const event of chat.send("What is a session?")) if (event.type === "text") process.stdout.write(event.text);
\`\`\`

gRPC and protobuf are inside: the package has no dependencies and no install scripts. Other languages generate a client
from \`runtime.proto\`, which is in this package, too.
`;

/**
 * grpc-js loads .proto files for two services that the client has no use for. Their loader would bring a parser of
 * .proto files and one of command lines along: a third of the whole.
 */
const withoutProtoLoader: BunPlugin = {
  name: "without-proto-loader",
  setup(build) {
    build.onResolve({ filter: /^@grpc\/proto-loader$/ }, ({ path }) => ({ path, namespace: "absent" }));
    build.onLoad({ filter: /./, namespace: "absent" }, ({ path }) => ({
      contents: `exports.loadSync = () => { throw new Error("${path} is no part of kakeya-client"); };`,
      loader: "js",
    }));
  },
};

const model = "kakeya-tiny";

/** Of the embedded model, what turns text into its ids: the package has it beside the modules. */
const besideTheModules: BunPlugin = {
  name: "embedded-model-beside-the-modules",
  setup(build) {
    const contents = `
      import { fileURLToPath } from "node:url";
      export const embeddedModelDir = () => fileURLToPath(new URL("../${model}", import.meta.url));`;
    build.onLoad({ filter: /[\\/]src[\\/]checkpoint[\\/]embedded\.ts$/ }, () => ({ contents, loader: "ts" }));
  },
};

/**
 * Writes the package kakeya-client to `outdir`: an ES module for ids, one for text, their declarations, and licenses,
 * for Node.js and Bun.
 */
export async function buildClient(outdir: string): Promise<void> {
  emptyPackage(outdir, {
    ...manifest("kakeya-client", "Client for kakeya, a local LLM runtime with sessions of fixed size."),
    type: "module",
    exports: Object.fromEntries(
      Object.entries(rooms).map(([path, room]) => [
        path,
        { types: `./types/${room}/index.d.ts`, default: `./${room}/index.js` },
      ]),
    ),
    engines: { node: ">=20" },
  });
  writeFileSync(join(outdir, "README.md"), readme);
  copyFileSync(join(root, "proto/kakeya/v1/runtime.proto"), join(outdir, "runtime.proto"));
  mkdirSync(join(outdir, model));
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    copyFileSync(join(root, "models", model, file), join(outdir, model, file));
  }
  const { metafile } = await Bun.build({
    entrypoints: Object.values(rooms).map((room) => join(root, `src/${room}/index.ts`)),
    root: join(root, "src"),
    plugins: [withoutProtoLoader, besideTheModules],
    target: "node",
    format: "esm",
    splitting: true, // Both modules have the same classes of errors.
    outdir,
    metafile: true,
  });
  const tsc = Bun.spawn(
    [...packageCommand("tsc"), "--project", "tsconfig.client.json", "--outDir", join(outdir, "types")],
    {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  if ((await tsc.exited) !== 0) throw new Error("the declarations of kakeya-client could not be written");
  removeUnreached(join(outdir, "types"));
  writeFileSync(join(outdir, "THIRD-PARTY-LICENSES"), licensesOfFiles(Object.keys(metafile?.inputs ?? {})));
}

/** Removes declarations that no module's own need: they would need packages that are not there. */
function removeUnreached(types: string): void {
  const reached = new Set<string>();
  const reach = (file: string) => {
    if (reached.has(file)) return;
    reached.add(file);
    const text = readFileSync(file, "utf8");
    for (const [, imported = ""] of text.matchAll(/from "(\.[^"]+)\.[jt]s"/g))
      reach(join(dirname(file), `${imported}.d.ts`));
  };
  for (const room of Object.values(rooms)) reach(join(types, room, "index.d.ts"));
  for (const entry of readdirSync(types, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name);
    if (entry.isFile() && !reached.has(file)) rmSync(file);
  }
}
