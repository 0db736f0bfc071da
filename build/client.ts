import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { BunPlugin } from "bun";
import { packageCommand } from "../tools/package-command.ts";
import { licensesOfFiles } from "./licenses.ts";
import { emptyPackage, manifest } from "./npm-package.ts";

const root = resolve(import.meta.dir, "..");

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

/** Writes the package kakeya-client to `outdir`: one ES module for Node.js and Bun, its declarations, and licenses. */
export async function buildClient(outdir: string): Promise<void> {
  emptyPackage(outdir, {
    ...manifest("kakeya-client", "Client for kakeya, a local LLM runtime with sessions of fixed size."),
    type: "module",
    exports: { ".": { types: "./types/client/index.d.ts", default: "./index.js" } },
    engines: { node: ">=20" },
  });
  writeFileSync(join(outdir, "README.md"), readme);
  copyFileSync(join(root, "proto/kakeya/v1/runtime.proto"), join(outdir, "runtime.proto"));
  const entrypoints = [join(root, "src/client/index.ts")];
  const plugins = [withoutProtoLoader];
  const { metafile } = await Bun.build({ entrypoints, plugins, target: "node", format: "esm", outdir, metafile: true });
  const tsc = Bun.spawn(
    [...packageCommand("tsc"), "--project", "tsconfig.client.json", "--outDir", join(outdir, "types")],
    {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  if ((await tsc.exited) !== 0) throw new Error("the declarations of kakeya-client could not be written");
  // The index needs none of these, and they would need packages that are not there.
  for (const inner of ["gen", "client/calls.d.ts", "client/unsigned.d.ts"]) {
    rmSync(join(outdir, "types", inner), { recursive: true });
  }
  writeFileSync(join(outdir, "THIRD-PARTY-LICENSES"), licensesOfFiles(Object.keys(metafile?.inputs ?? {})));
}
