/** Removes what killed builds left; the launcher runs it when there is anything. */
import { join, resolve } from "node:path";
import { earlierPartName, removeAbandoned, removeDeadParts } from "../src/files/part.ts";

const root = resolve(import.meta.dir, "..");
const dist = join(root, "dist");

removeDeadParts(dist);
removeAbandoned(dist, earlierPartName);
// Where Bun writes an executable first, in the folder it is started in: the root, in earlier versions.
removeAbandoned(root, /^\.[0-9a-f]+-[0-9a-f]+\.bun-build$/);
