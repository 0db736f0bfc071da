/** What must not outlive a trial, however it ends. */

const ends = new Set<() => void>();

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
process.on("exit", () => {
  for (const end of [...ends].reverse()) end();
});

/** @param end done when this process ends, unless what it returns was called before */
export function atExit(end: () => void): () => void {
  ends.add(end);
  return () => ends.delete(end);
}
