/**
 * A server over the database of its argument, which commits one id after the other to the session "s" until it may not
 * any more; then it says how far it came and why it ended.
 */

import { StateError } from "../../src/state/errors.ts";
import { openState } from "../../src/state/open.ts";
import { idsFrom, newSession } from "./sessions.ts";

const store = await openState({ url: process.argv[2] ?? "", leaseS: 5, waitS: 60, serverName: "stopped" });
const lease = await store.create(newSession("s"));
let position = 0;
try {
  for (; ; position++) {
    await store.commit([{ lease, position, ids: idsFrom(position, 1), generated: 1 }]);
    if (position === 20) console.log("committing");
  }
} catch (error) {
  console.log(`${position} ${error instanceof StateError ? error.kind : error}`);
}
await store.close();
process.exit(0);
