import type { Call } from "./call.ts";

const encoder = new TextEncoder();

/**
 * Answers with server-sent events, as fast as the client reads them. An error before the first event is thrown, so that
 * it becomes the answer's status; a later one becomes an event, made by `failed`.
 *
 * A client that leaves aborts the call. The events are then drained: what they are made of ends by itself.
 */
export async function eventStream(
  call: Call,
  events: AsyncGenerator<string, void>,
  failed: (error: unknown) => string,
): Promise<Response> {
  let first: IteratorResult<string, void> | undefined = await events.next();
  const end = call.goOn();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await (first ?? events.next().catch((error: unknown) => ({ done: "failed" as const, error })));
        first = undefined;
        if (next.done === "failed") controller.enqueue(encoder.encode(failed(next.error)));
        else if (!next.done) return controller.enqueue(encoder.encode(next.value));
        controller.close();
        end();
      },
      async cancel() {
        call.abort();
        await drained(events);
        end();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" },
  });
}

async function drained(events: AsyncGenerator<string, void>): Promise<void> {
  try {
    for (let next = await events.next(); !next.done; next = await events.next());
  } catch {
    // Nobody is left to tell.
  }
}
