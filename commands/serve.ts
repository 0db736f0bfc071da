import { version } from "../package.json" with { type: "json" };
import { command } from "../src/cli/command.ts";
import { exit, UsageError } from "../src/cli/exit.ts";
import { print } from "../src/cli/output.ts";
import { progress, showBytes } from "../src/cli/progress.ts";
import { bytes, duration, integer } from "../src/cli/units.ts";
import { logFormats, logLevels } from "../src/host/log.ts";
import { defaultServerOptions as defaults } from "../src/host/options.ts";

export default command({
  name: "serve",
  description: "Serve a model over gRPC: sessions that never slow down and never grow.",
  args: {
    model: {
      type: "string",
      description: "A Hugging Face directory, or an id in the local hub cache; without it, the embedded model",
      valueHint: "dir|id",
    },
    quant: { type: "enum", description: "How weights are held", options: ["q8", "q4", "f32"], default: "q8" },
    bind: { type: "string", description: "host:port (port 0: any free one) or unix:/path", default: defaults.bind },
    sink: { type: "string", description: "First tokens that every session keeps", default: "4" },
    window: { type: "string", description: "Last tokens that every session keeps", default: "64" },
    capacity: {
      type: "string",
      description: "Sessions at once; one more evicts the least recently active",
      default: "4",
    },
    threads: { type: "string", description: "Threads of the engine; without it, chosen from machine and model" },
    "session-ttl": { type: "string", description: "Idle time after which a session is evicted", default: "30m" },
    "shutdown-grace": {
      type: "string",
      description: "Time for calls in flight after SIGTERM or SIGINT",
      default: "5s",
    },
    token: { type: "string", description: "Bearer token that clients must send (or KAKEYA_TOKEN)" },
    "token-file": { type: "string", description: "File with that token", valueHint: "path" },
    "tls-cert": { type: "string", description: "Certificate chain, to serve TLS", valueHint: "pem" },
    "tls-key": { type: "string", description: "Private key of --tls-cert", valueHint: "pem" },
    "tls-client-ca": {
      type: "string",
      description: "Authority that clients' certificates must come from",
      valueHint: "pem",
    },
    "metrics-port": { type: "string", description: "Prometheus /metrics on this loopback port (0: any free one)" },
    "max-append-tokens": {
      type: "string",
      description: "Token ids in one AppendTokens",
      default: String(defaults.maxAppendTokens),
    },
    "max-request-bytes": { type: "string", description: "Size of one request", default: "4MiB" },
    "log-level": { type: "enum", description: "Least level to log", options: [...logLevels], default: "info" },
    "log-format": { type: "enum", description: "Log lines on stderr", options: [...logFormats], default: "text" },
    "stop-with-stdin": { type: "boolean", description: "Stop when the standard input ends", default: false },
  },
  examples: ["serve", "serve --bind unix:/tmp/kakeya.sock --capacity 16", "serve --bind 127.0.0.1:0 --metrics-port 0"],
  async run({ args }) {
    const { runServer } = await import("../src/serve/run.ts");
    const { createLog } = await import("../src/host/log.ts");
    const { stopRequests } = await import("../src/host/stop-requests.ts");
    const { tokenFrom } = await import("../src/host/token.ts");

    const token = await tokenFrom({
      flag: args.token,
      file: args["token-file"],
      environment: process.env.KAKEYA_TOKEN,
    });
    const tls = tlsFiles(args["tls-cert"], args["tls-key"], args["tls-client-ca"]);
    const loading = progress();
    const { model, threads, "metrics-port": metricsPort } = args;
    await runServer({
      engine: {
        quantization: args.quant,
        sink: integer("sink", args.sink, 0, 65_536),
        window: integer("window", args.window, 1, 1_048_576),
        capacity: integer("capacity", args.capacity, 1, 65_536),
        onProgress: showBytes(loading, "preparing the model"),
        ...(model === undefined ? {} : { model }),
        ...(threads === undefined ? {} : { threads: integer("threads", threads, 1, 1024) }),
      },
      server: {
        bind: args.bind,
        sessionTtlS: duration("session-ttl", args["session-ttl"]),
        shutdownGraceS: duration("shutdown-grace", args["shutdown-grace"]),
        maxAppendTokens: integer("max-append-tokens", args["max-append-tokens"], 1),
        maxRequestBytes: bytes("max-request-bytes", args["max-request-bytes"]),
        ...(token === undefined ? {} : { token }),
        ...(tls === undefined ? {} : { tls }),
      },
      ...(metricsPort === undefined ? {} : { metricsPort: integer("metrics-port", metricsPort, 0, 65_535) }),
      version,
      log: createLog({
        level: args["log-level"],
        format: args["log-format"],
        write: (line) => process.stderr.write(line),
        now: () => new Date(),
      }),
      onReady: (line) => {
        loading.end();
        print(line);
      },
      stop: stopRequests({ withStdin: args["stop-with-stdin"] }),
    });
    return exit.done;
  },
});

function tlsFiles(cert: string | undefined, key: string | undefined, clientCa: string | undefined) {
  if (cert === undefined && key === undefined && clientCa === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError("TLS needs both --tls-cert and --tls-key");
  return { cert, key, ...(clientCa === undefined ? {} : { clientCa }) };
}
