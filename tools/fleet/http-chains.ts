/** Chains of responses over HTTP. A server knows only its own: each response that continues another proves its way. */

export interface HttpResult {
  chains: number;
  turns: number;
  /** Each kind of failure once, with how often. */
  errors: Record<string, number>;
}

/** @param isOwn whether the clients choose what they send in `kakeya-session`, or repeat what the first answer has */
export async function talkOverHttp(url: string, chains: number, seconds: number, isOwn: boolean): Promise<HttpResult> {
  const endMs = performance.now() + seconds * 1000;
  const errors: Record<string, number> = {};
  let turns = 0;
  const talk = async () => {
    let session: string | undefined = isOwn ? crypto.randomUUID() : undefined;
    let previous: string | undefined;
    while (performance.now() < endMs) {
      const response = await fetch(`${url}/v1/responses`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(session === undefined ? {} : { "kakeya-session": session }),
        },
        body: JSON.stringify({
          input: "What is a sink?",
          temperature: 0,
          max_output_tokens: 16,
          ...(previous === undefined ? {} : { previous_response_id: previous }),
        }),
      });
      const text = await response.text();
      turns++;
      if (!response.ok) {
        errors[text] = (errors[text] ?? 0) + 1;
        return;
      }
      previous = JSON.parse(text).id;
      session ??= response.headers.get("kakeya-session") ?? undefined;
      await Bun.sleep(500 + Math.random() * 1000);
    }
  };
  await Promise.all(Array.from({ length: chains }, talk));
  return { chains, turns, errors };
}
