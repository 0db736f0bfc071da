/**
 * What a promise rejects with. `expect(promise).rejects` of Bun 1.4.5 turns the event loop inside itself while it
 * waits, and hangs when the promise hangs on a worker or on setImmediate.
 */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (reason: unknown) => ({ reason }),
  );
  if ("value" in outcome) throw new Error(`resolved to ${JSON.stringify(outcome.value)} instead of rejecting`);
  if (!(outcome.reason instanceof Error)) throw new Error(`rejected with ${String(outcome.reason)}, not an Error`);
  return outcome.reason;
}
