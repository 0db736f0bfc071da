import { collectDefaultMetrics, Registry } from "prom-client";

/**
 * The metrics of prom-client that are true on Bun. Left out: `process_heap_bytes` and `process_virtual_memory_bytes`
 * (gigabytes of addresses that JavaScriptCore reserves and never touches), V8's heap spaces, active handles and
 * requests (always 0), garbage collections (never seen) and Node.js's version.
 */
const trueOnes = /^(process_(cpu|start_time|resident_memory|open_fds|max_fds)|nodejs_eventloop_lag_)/;

/** Adds measurements of this process to `registry`. */
export function collectProcessMetrics(registry: Registry): void {
  const all = new Registry();
  collectDefaultMetrics({ register: all });
  for (const { name } of all.getMetricsAsArray()) {
    const metric = trueOnes.test(name) ? all.getSingleMetric(name) : undefined;
    if (metric !== undefined) registry.registerMetric(metric);
  }
}
