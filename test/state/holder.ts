/** Opens the state folder of its argument, commits to it, says so, and waits to be killed. */

import { openState } from "../../src/state/open.ts";
import { idsFrom, newSession } from "./sessions.ts";

const store = await openState({ dir: process.argv[2] ?? "", sync: "normal" });
const lease = await store.create(newSession("held"));
await store.commit([{ lease, position: 0, ids: idsFrom(0, 1234), generated: 0 }]);
console.log("committed");
setInterval(() => {}, 1_000_000);
