import { kakeya } from "../program.ts";

export interface Served extends AsyncDisposable {
  address: string;
  /** What it said when it was ready. */
  ready: Readonly<Record<string, unknown>> & { address: string };
  process: Bun.Subprocess<"pipe", "pipe", "pipe">;
  /** Everything on stdout after the ready line, once the process has ended. */
  restOfStdout(): Promise<string>;
  stderr(): Promise<string>;
}

/** `kakeya serve` in a process of its own, on a free port, when it is ready. */
export function serve(...flags: string[]): Promise<Served> {
  return serveIn({}, ...flags);
}

/** The same, with more in its environment. */
export async function serveIn(environment: Record<string, string>, ...flags: string[]): Promise<Served> {
  const http = flags.includes("--http") ? [] : ["--http", "off"];
  const command = [...kakeya, "serve", "--bind", "127.0.0.1:0", ...http, "--json", ...flags];
  const process_ = Bun.spawn(command, {
    env: { ...process.env, ...environment },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  const stdout = process_.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const stderr = new Response(process_.stderr).text();
  let text = "";
  while (!text.includes("\n")) {
    const { done, value } = await stdout.read();
    if (done) throw new Error(`serve ended before it was ready: ${await stderr}`);
    text += value;
  }
  const line = text.slice(0, text.indexOf("\n"));
  const ready = JSON.parse(line);
  return {
    address: ready.address,
    ready,
    process: process_,
    async restOfStdout() {
      let rest = text.slice(line.length + 1);
      for (let chunk = await stdout.read(); !chunk.done; chunk = await stdout.read()) rest += chunk.value;
      return rest;
    },
    stderr: () => stderr,
    async [Symbol.asyncDispose]() {
      process_.kill("SIGKILL");
      await process_.exited;
    },
  };
}
