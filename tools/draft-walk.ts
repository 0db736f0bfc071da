import { Drafter, draftLength, mostGuesses } from "../src/engine/drafts/drafter.ts";
import { RowCosts } from "../src/engine/drafts/row-costs.ts";
import type { Stream } from "./draft-streams.ts";

/** What steps cost, as measured. */
export interface StepCost {
  name: string;
  /** Steps run a multiple of so many rows. */
  rowMultiple: number;
  /** Milliseconds of a step by its number of rows. */
  ms: Readonly<Record<string, number>>;
}

/** What a stream took. */
export interface Walked {
  name: string;
  tokens: number;
  steps: number;
  drafted: number;
  accepted: number;
  /** Milliseconds with guesses, and without. */
  ms: number;
  plainMs: number;
}

/** Milliseconds of a step that is asked for so many rows. */
export function stepMs({ rowMultiple, ms }: StepCost): (rows: number) => number {
  const costs = new RowCosts();
  for (const [rows, milliseconds] of Object.entries(ms)) costs.record(Number(rows), milliseconds);
  return (rows) => costs.msOf(Math.ceil(rows / rowMultiple) * rowMultiple);
}

/** One session: what is generated is run in steps, each of the next token and guesses of those after it. */
export function walk({ name, segments }: Stream, msOf: (rows: number) => number): Walked {
  const drafter = new Drafter();
  const walked = { name, tokens: 0, steps: 0, drafted: 0, accepted: 0, ms: 0, plainMs: 0 };
  for (const { generated, ids } of segments) {
    for (let at = 0; at < ids.length; at++) {
      drafter.push(ids[at] ?? 0);
      if (!generated) continue;
      const left = ids.length - at - 1;
      const count = draftLength([drafter], msOf, Math.min(mostGuesses, left));
      const guesses = drafter.draft(count);
      const wrong = guesses.findIndex((id, i) => id !== ids[at + 1 + i]);
      const accepted = wrong < 0 ? guesses.length : wrong;
      drafter.settle(guesses.length, accepted);
      for (let i = 0; i < accepted; i++) drafter.push(ids[++at] ?? 0);
      walked.tokens += 1 + accepted;
      walked.steps++;
      walked.drafted += guesses.length;
      walked.accepted += accepted;
      walked.ms += msOf(1 + guesses.length);
      walked.plainMs += msOf(1) * (1 + accepted);
    }
  }
  return walked;
}
