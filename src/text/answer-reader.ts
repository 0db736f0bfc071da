import { type AnswerEvent, AnswerParser, type AnswerParserOptions, answerMarkers } from "./answer-parser.ts";
import { StopStrings } from "./stop-strings.ts";
import type { StreamDecoder } from "./stream-decoder.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface AnswerReaderOptions extends AnswerParserOptions {
  /** Strings before which the answer ends; looked for in the answer's text, not in its thinking or its calls. */
  stops?: readonly string[];
}

/** Reads an answer while its ids come: text, thinking and calls, up to a stop string. */
export class AnswerReader {
  readonly #decoder: StreamDecoder;
  readonly #parser: AnswerParser;
  readonly #stops: StopStrings;

  constructor(tokenizer: Pick<Tokenizer, "decoder">, options: AnswerReaderOptions = {}) {
    this.#decoder = tokenizer.decoder(answerMarkers);
    this.#parser = new AnswerParser(options);
    this.#stops = new StopStrings(options.stops ?? []);
  }

  /** The stop string that ended the answer: no more ids are wanted. */
  get stoppedBy(): string | undefined {
    return this.#stops.found;
  }

  /** The events that the next id brings; an end token brings none. */
  push(id: number): AnswerEvent[] {
    return this.#watched(this.#parser.push(this.#decoder.push(id)));
  }

  /** What is left when there are no more ids. */
  end(): AnswerEvent[] {
    const rest = [...this.#parser.push(this.#decoder.flush()), ...this.#parser.end()];
    return [...this.#watched(rest), ...said(this.#stops.end())];
  }

  #watched(events: readonly AnswerEvent[]): AnswerEvent[] {
    return events.flatMap((event) => {
      if (this.stoppedBy !== undefined) return [];
      // Text that was held back comes before this event.
      return event.type === "text" ? said(this.#stops.push(event.text)) : [...said(this.#stops.end()), event];
    });
  }
}

function said(text: string): AnswerEvent[] {
  return text === "" ? [] : [{ type: "text", text }];
}
