import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

const root = "/usr/lib/postgresql";
const debian = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
const folders = [...debian.map((version) => join(root, version, "bin")), ...(process.env.PATH ?? "").split(":")];

/** Where Postgres' programs are; undefined: not installed here. */
export const postgresPrograms = folders.find(
  (folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")),
);
