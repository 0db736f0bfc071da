/** Aggregates and judges a million turns, and prints what came out with the milliseconds it took. */
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import { steady, world } from "./series.ts";

const turns = steady(1_000_000, { spacingS: 1 });
const startMs = performance.now();
const agg = aggregateV2(turns, 1_000_000);
const gates = judge(turns, { world, rotation: 6 });
const tookMs = performance.now() - startMs;
console.log(JSON.stringify({ tookMs, n: agg.n_turns, buckets: agg.buckets_10min.length, gates }));
