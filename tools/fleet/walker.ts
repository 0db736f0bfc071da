import { setTimeout as sleep } from "node:timers/promises";
import { Client, ResourceExhausted, type Session } from "../../src/client/index.ts";
import { answerTokens, type Expected, idsOfTurn } from "./script.ts";

/** One turn as its client saw it; times in seconds of the trial's clock. */
export interface Turn {
  session: string;
  startedS: number;
  firstIdS: number;
  endedS: number;
  /** Why it failed. */
  error?: string;
}

export interface WalkerOptions {
  address: string;
  script: number;
  expected: Expected;
  /** From a turn's end to the next one's start, at random around this. */
  thinkS: number;
  nowS: () => number;
  retryS: number;
  /** After a call that was refused for want of room, it asks where its history stands, and goes on. */
  goesOn?: boolean;
  onTurn: (turn: Turn) => void;
}

/** A session that talks, and checks each id that it hears. */
export class Walker {
  readonly #client: Client;
  readonly faults: string[] = [];
  session: Session | undefined;
  #turn = 0;
  #tokens = 0;

  constructor(private readonly options: WalkerOptions) {
    this.#client = new Client(options.address, { retryS: options.retryS });
  }

  async open(): Promise<void> {
    this.session = await this.#client.createSession({ label: `script ${this.options.script}` });
  }

  async run(stop: AbortSignal): Promise<void> {
    // Not all at once.
    await rest(this.options.thinkS * Math.random(), stop);
    while (!stop.aborted) {
      const isGood = await this.#take();
      // After a failure nobody knows where the history stands: what follows would only repeat the fault.
      if (!isGood) return;
      await rest(this.options.thinkS * (0.5 + Math.random()), stop);
    }
  }

  /** Whether the history is as long as what was said and heard; the fault is noted. */
  async checkLength(): Promise<void> {
    const { historyTokens } = await this.#open.info();
    if (historyTokens !== this.#tokens) this.#fault(`history of ${historyTokens} tokens, ${this.#tokens} seen`);
  }

  close(): void {
    this.#client.close();
  }

  get #open(): Session {
    if (this.session === undefined) throw new Error("the walker has no session yet");
    return this.session;
  }

  async #take(): Promise<boolean> {
    const { script, expected, nowS, onTurn } = this.options;
    const session = this.#open;
    const startedS = nowS();
    const right = await expected.answer(script, this.#turn);
    const ids = idsOfTurn(script, this.#turn);
    const turn: Turn = { session: session.id.slice(0, 8), startedS, firstIdS: Number.NaN, endedS: Number.NaN };
    const heard: number[] = [];
    try {
      for (;;) {
        try {
          await this.#say(ids, heard, () => {
            turn.firstIdS = nowS();
          });
          break;
        } catch (error) {
          if (!(this.options.goesOn && error instanceof ResourceExhausted)) throw error;
          onTurn({ ...turn, endedS: nowS(), error: describe(error) });
          await Bun.sleep(500);
          await this.#catchUp(ids, heard, right);
        }
      }
      turn.endedS = nowS();
      this.#tokens += ids.length + heard.length;
      const isRight = heard.length === right.length && heard.every((id, i) => id === right[i]);
      if (!isRight) this.#fault(`turn ${this.#turn} said ${heard.join(" ")} instead of ${right.join(" ")}`);
      this.#turn++;
      onTurn(turn);
      return isRight;
    } catch (error) {
      onTurn({ ...turn, endedS: nowS(), error: describe(error) });
      return false;
    }
  }

  /** Says what is not said yet. */
  async #say(ids: readonly number[], heard: number[], onFirst: () => void): Promise<void> {
    const { historyTokens } = heard.length === 0 ? await this.#open.info() : { historyTokens: Number.NaN };
    if (historyTokens === this.#tokens) await this.#open.append(ids);
    for await (const id of this.#open.generate({ maxTokens: answerTokens - heard.length })) {
      if (heard.push(id) === 1) onFirst();
    }
  }

  /** Takes over what the history has of the answer and nobody heard. */
  async #catchUp(ids: readonly number[], heard: number[], right: readonly number[]): Promise<void> {
    const said = (await this.#open.info()).historyTokens - this.#tokens - ids.length;
    if (said < heard.length && heard.length > 0)
      this.#fault(`${heard.length} ids were heard, of which ${said} are left`);
    heard.push(...right.slice(heard.length, Math.max(said, 0)));
  }

  #fault(words: string): void {
    this.faults.push(`session ${this.session?.id.slice(0, 8)}, script ${this.options.script}: ${words}`);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

async function rest(seconds: number, signal: AbortSignal): Promise<void> {
  await sleep(seconds * 1000, undefined, { signal }).catch(() => {});
}
