import { version } from "../package.json" with { type: "json" };
import { command } from "../src/cli/command.ts";
import { exit } from "../src/cli/exit.ts";
import { print } from "../src/cli/output.ts";
import { progress, showBytes } from "../src/cli/progress.ts";
import { selfCommand, sourceCommit } from "../src/cli/self.ts";
import { shellLine } from "../src/cli/shell.ts";
import { serveFlags, serveOptions } from "../src/host/flags.ts";

export default command({
  name: "serve",
  description: "Serve a model over gRPC: sessions that never slow down and never grow.",
  args: serveFlags,
  examples: ["serve", "serve --bind unix:/tmp/kakeya.sock --capacity 16", "serve --bind 127.0.0.1:0 --metrics-port 0"],
  async run({ args }) {
    const { runServer } = await import("../src/serve/run.ts");
    const { createLog } = await import("../src/host/log.ts");
    const { readyJson, readySentence } = await import("../src/host/ready.ts");
    const { stopRequests } = await import("../src/host/stop-requests.ts");
    const { benchWords } = await import("../src/host/try-it.ts");
    const { tokenFrom } = await import("../src/host/token.ts");

    const { hasPassword } = await import("../src/state/postgres/address.ts");

    const { engine, server, ...others } = serveOptions(args, process.env.KAKEYA_STATE);
    const token = await tokenFrom({
      flag: args.token,
      file: args["token-file"],
      environment: process.env.KAKEYA_TOKEN,
    });
    const log = createLog({
      level: args["log-level"],
      format: args["log-format"],
      write: (line) => process.stderr.write(line),
      now: () => new Date(),
    });
    if (args.token !== undefined) {
      log.warn(
        "--token shows in the list of processes and in reports of crashes: give it with --token-file or KAKEYA_TOKEN instead",
      );
    }
    if (args.state !== undefined && hasPassword(args.state)) {
      log.warn(
        "the password of --state shows in the list of processes: give the URL as KAKEYA_STATE, or the password with --state-password-file or PGPASSWORD instead",
      );
    }
    const loading = progress();
    await runServer({
      ...others,
      engine: { ...engine, onProgress: showBytes(loading, "preparing the model") },
      server: { ...server, ...(token === undefined ? {} : { token }) },
      kakeya: selfCommand(),
      version,
      commit: sourceCommit(),
      log,
      onReady: (ready) => {
        loading.end();
        const tryIt = () => shellLine([...selfCommand(), ...benchWords(args, ready.address)]);
        print(args.json ? readyJson(ready) : readySentence(ready, tryIt()));
      },
      stop: stopRequests({ withStdin: args["stop-with-stdin"] }),
    });
    return exit.done;
  },
});
