import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildClient } from "./build/client.ts";
import { buildExecutable, type Platform, platforms } from "./build/executable.ts";

const here = `${process.platform}-${process.arch}`;
const isPlatform = (name: string): name is Platform => Object.hasOwn(platforms, name);
const names = Object.keys(platforms).filter(isPlatform);

const { values } = parseArgs({ options: { target: { type: "string", default: here } } });
const targets = values.target === "all" ? [...names, "client"] : [values.target];

for (const target of targets) {
  const startedAt = performance.now();
  const outfile = await build(target);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${outfile}  ${(Bun.file(join(import.meta.dir, outfile)).size / 1e6).toPrecision(3)} MB  ${seconds} s`);
}

/** Answers with the file it wrote, relative to this one. */
async function build(target: string): Promise<string> {
  if (target === "client") {
    await buildClient();
    return "dist/client/index.js";
  }
  if (isPlatform(target)) {
    const outfile = target === here ? "dist/kakeya" : `dist/kakeya-${target}`;
    await buildExecutable(target, join(import.meta.dir, outfile));
    return outfile;
  }
  console.error(`build: there is no target "${target}"; choose one of ${names.join(", ")}, client (the SDK) or all`);
  process.exit(2);
}
