/** The demonstration that sessions outlive the server: it is killed in the middle of answers, and started again. */

import type { OwnServer } from "../connection/own-server.ts";
import type { Restart } from "../report/report.ts";
import type { Clock } from "./clock.ts";

export interface KillOptions {
  server: Pick<OwnServer, "kill" | "startAgain">;
  times: number;
  /** Of the run: the kills are spread over it evenly. */
  durationS: number;
  /** Starts with the run. */
  clock: Clock;
}

export class Kills {
  readonly restarts: Restart[] = [];
  readonly #options: KillOptions;
  #begun = 0;
  #restarting: Promise<void> | undefined;

  constructor(options: KillOptions) {
    this.#options = options;
  }

  /** Told of each id that arrives, so that a kill always hits an answer. */
  onId(): void {
    const { times, durationS, clock } = this.#options;
    const dueS = (durationS * (this.#begun + 1)) / (times + 1);
    // A kill after an answer's last id makes no call fail: its client waits until the server is back.
    const isDown = this.restarts.length < this.#begun;
    if (isDown || this.#begun >= times || clock.nowS() < dueS) return;
    this.#begun++;
    this.#restarting = this.#restart();
  }

  /** Whether a call has failed because the server was killed; resolves when it runs again. */
  async recovered(): Promise<boolean> {
    if (this.#restarting === undefined) return false;
    await this.#restarting;
    this.#restarting = undefined;
    return true;
  }

  async #restart(): Promise<void> {
    const { server, clock } = this.#options;
    const killedS = clock.nowS();
    await server.kill();
    await server.startAgain();
    this.restarts.push({ t_relative_s: killedS, down_s: clock.nowS() - killedS });
  }
}
