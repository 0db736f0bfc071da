/** Generates until it is killed: `bun killed-client.ts <address> <session id>`. */
import { Client } from "../../src/client/index.ts";

const [address = "", sessionId = ""] = process.argv.slice(2);
for await (const id of new Client(address).session(sessionId).generate({ maxTokens: 2 ** 32 - 1 })) console.log(id);
