export interface StopRequestOptions {
  /** Also stop when the standard input ends, as it does when the process that started this one has ended. */
  withStdin: boolean;
}

/** Aborts at the first SIGTERM or SIGINT; a second one ends the process at once. */
export function stopRequests({ withStdin }: StopRequestOptions): AbortSignal {
  const asked = new AbortController();
  for (const [name, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const) {
    process.on(name, () => {
      if (asked.signal.aborted) process.exit(code);
      asked.abort();
    });
  }
  if (withStdin) {
    process.stdin.on("end", () => asked.abort()).on("error", () => asked.abort());
    process.stdin.resume();
  }
  return asked.signal;
}
