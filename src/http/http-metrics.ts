import { Counter, Histogram, type Registry } from "prom-client";

const bucketsS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Requests under the names that dashboards for HTTP services know. */
export class HttpMetrics {
  readonly #requests: Counter;
  readonly #duration: Histogram;

  constructor(registry: Registry) {
    const labelNames = ["method", "status"];
    this.#requests = new Counter({
      name: "http_requests_total",
      help: "Requests answered",
      labelNames,
      registers: [registry],
    });
    this.#duration = new Histogram({
      name: "http_request_duration_seconds",
      help: "From a request's headers to its answer's; of a stream, to its first event",
      labelNames: ["method"],
      buckets: bucketsS,
      registers: [registry],
    });
  }

  answered(method: string, status: number, durationS: number): void {
    // Callers must not be able to invent label values.
    const known = ["GET", "POST", "DELETE", "OPTIONS"].includes(method) ? method : "other";
    this.#requests.inc({ method: known, status: String(status) });
    this.#duration.observe({ method: known }, durationS);
  }
}
