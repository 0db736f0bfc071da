/** Exits with code 7, so many milliseconds after a worker began to compute for a second or more. */
import { openEngine } from "../../src/engine/open.ts";

const engine = await openEngine({ quantization: "q8", sink: 4, window: 64, capacity: 1 });
const sequence = await engine.create();
void engine.append(sequence, new Uint32Array(20_000));
setTimeout(() => process.exit(7), Number(process.argv[2]));
