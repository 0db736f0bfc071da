/** Removes what killed builds left; the launcher runs it when there is anything. */
import { join } from "node:path";
import { removeDeadParts } from "../src/files/part.ts";

removeDeadParts(join(import.meta.dir, "../dist"));
