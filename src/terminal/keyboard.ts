import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import type { ReadStream, WriteStream } from "node:tty";
import { exit } from "../cli/exit.ts";

export type Key = { kind: "line"; text: string } | { kind: "interrupt" } | { kind: "end" };

/** Lines that a person types, with editing and a history, and Ctrl-C both at the prompt and during work. */
export class Keyboard implements Disposable {
  readonly #lines: Interface;
  readonly #echo: Echo;
  /** Lines that were typed before they were asked for: several may be pasted at once. */
  #typed: Key[] = [];
  #wake: (() => void) | undefined;
  /** Of the work under way. */
  #abort: AbortController | undefined;

  constructor(input: ReadStream, output: WriteStream) {
    this.#echo = new Echo(output);
    const history = { historySize: 1000, removeHistoryDuplicates: true };
    this.#lines = createInterface({ input, output: this.#echo, terminal: true, ...history });
    this.#lines.on("line", (text) => this.#push({ kind: "line", text }));
    this.#lines.on("close", () => this.#push({ kind: "end" }));
    this.#lines.on("SIGINT", () => this.#interrupt());
  }

  async next(prompt: string): Promise<Key> {
    this.#echo.muted = false;
    if (this.#typed.length === 0) {
      this.#lines.setPrompt(prompt);
      // Starts with what was typed meanwhile.
      this.#lines.prompt(true);
    }
    while (this.#typed.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#echo.muted = true;
    return this.#typed.shift() ?? { kind: "end" };
  }

  /** While `work` goes on, Ctrl-C aborts its signal, and a second one ends the process. */
  async during<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#abort = new AbortController();
    try {
      return await work(this.#abort.signal);
    } finally {
      this.#abort = undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#lines.close();
  }

  #interrupt(): void {
    if (this.#abort?.signal.aborted) {
      this.#lines.close();
      process.exit(exit.interrupted);
    }
    // Clears what was typed: to the end of the line, then back to its start.
    this.#lines.write(null, { ctrl: true, name: "e" });
    this.#lines.write(null, { ctrl: true, name: "u" });
    this.#typed = [];
    if (this.#abort === undefined) {
      this.#echo.write("^C\n");
      this.#push({ kind: "interrupt" });
    } else this.#abort.abort();
  }

  #push(key: Key): void {
    this.#typed.push(key);
    this.#wake?.();
  }
}

/** Where readline shows what is typed: nowhere while an answer is printed. */
class Echo extends Writable {
  muted = false;

  constructor(private readonly terminal: WriteStream) {
    super({ decodeStrings: false });
    terminal.on("resize", () => this.emit("resize"));
  }

  /** readline asks for it. */
  get columns(): number {
    return this.terminal.columns || 80;
  }

  override _write(text: string, _encoding: BufferEncoding, done: () => void): void {
    if (!this.muted) this.terminal.write(text);
    done();
  }
}
