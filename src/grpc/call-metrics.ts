import type { ServerInterceptor } from "@grpc/grpc-js";
import { ServerInterceptingCall } from "@grpc/grpc-js";
import { Status } from "nice-grpc";
import { Counter, Histogram, type Registry } from "prom-client";
import { knownMethods, type MethodLabels, methodLabels } from "./methods.ts";

const methodLabelNames = ["grpc_type", "grpc_service", "grpc_method"];
const handlingBucketsS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Calls under the names and labels of go-grpc-prometheus, for dashboards that expect them. */
export class CallMetrics {
  readonly #started: Counter;
  readonly #handled: Counter;
  readonly #received: Counter;
  readonly #sent: Counter;
  readonly #handling: Histogram;

  constructor(registry: Registry) {
    const counter = (name: string, help: string, labelNames = methodLabelNames) =>
      new Counter({ name, help, labelNames, registers: [registry] });
    this.#started = counter("grpc_server_started_total", "Calls whose headers arrived");
    this.#handled = counter("grpc_server_handled_total", "Calls that ended", [...methodLabelNames, "grpc_code"]);
    this.#received = counter("grpc_server_msg_received_total", "Messages received");
    this.#sent = counter("grpc_server_msg_sent_total", "Messages sent");
    this.#handling = new Histogram({
      name: "grpc_server_handling_seconds",
      help: "From a call's headers to its status",
      labelNames: methodLabelNames,
      buckets: handlingBucketsS,
      registers: [registry],
    });
    // A counter that does not exist yet has no rate, not even zero.
    for (const method of knownMethods) {
      for (const zero of [this.#started, this.#received, this.#sent]) zero.inc({ ...method }, 0);
      this.#handled.inc({ ...method, grpc_code: "OK" }, 0);
    }
  }

  started(method: MethodLabels): void {
    this.#started.inc({ ...method });
  }

  handled(method: MethodLabels, code: Status, durationS: number): void {
    this.#handled.inc({ ...method, grpc_code: codeLabel(code) });
    this.#handling.observe({ ...method }, durationS);
  }

  /** Counts messages; statuses can't be counted here, because grpc-js sends some of its own past interceptors. */
  readonly interceptor: ServerInterceptor = ({ path }, call) => {
    const labels = { ...methodLabels(path) };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMessage: (message, pass) => {
            this.#received.inc(labels);
            pass(message);
          },
        }),
      sendMessage: (message, pass) => {
        this.#sent.inc(labels);
        pass(message);
      },
    });
  };
}

/** NOT_FOUND as NotFound: Go's spelling, which dashboards expect. */
function codeLabel(code: Status): string {
  if (code === Status.OK) return "OK";
  const words = (Status[code] ?? "UNKNOWN").split("_");
  // go's one l
  return words
    .map((word) => (word === "CANCELLED" ? "Canceled" : word.charAt(0) + word.slice(1).toLowerCase()))
    .join("");
}
