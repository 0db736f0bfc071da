import type { Sampling } from "../engine/engine.ts";
import type { ChatMessage } from "../text/messages.ts";
import { ApiError, invalid } from "./api-error.ts";
import { HistoryNotKept } from "./seats.ts";
import type { TextModel } from "./text-model.ts";
import { messagesUpTo, type Root, rootDigest, rootOf, type Turn } from "./turn.ts";
import type { Turns } from "./turns.ts";

export interface Question {
  root: Root;
  /** The turn that it continues; undefined where `messages` are the whole conversation. */
  after: Turn | undefined;
  messages: readonly ChatMessage[];
  maxTokens: number;
  sampling: Sampling;
  stop: readonly string[];
}

/** What is to be appended, and after which turn. */
export interface Plan {
  root: Root;
  turn: Turn | undefined;
  prompt: string;
  ids: Uint32Array;
  /** Messages that come after that turn. */
  messages: readonly ChatMessage[];
}

export interface PlannerParts {
  text: TextModel;
  turns: Turns;
  /** Token ids in one prompt. */
  maxPromptTokens: number;
}

/** Finds how much of a question's conversation is known, and renders what comes after it. */
export class Planner {
  constructor(private readonly parts: PlannerParts) {}

  /** Checks the question and renders it, without a session yet. @throws TemplateError, ApiError */
  plan({ root, after, messages }: Question): Plan {
    if (messages.at(-1)?.role === "assistant") {
      throw invalid("messages", "the last message is the assistant's: there is nothing to answer");
    }
    if (after === undefined) return this.#planWhole(root, messages);
    const before = after.root;
    // A system message that was said stays, whatever the instructions are.
    const said = before.systemFrom === "message" && before.system !== undefined ? before.system : undefined;
    const asBefore = root.system === undefined ? { ...root, system: said, systemFrom: before.systemFrom } : root;
    if (rootDigest(before) === rootDigest(asBefore)) return this.#planAfter(asBefore, after, messages);
    // Other tools or instructions stand at the beginning: everything after them is computed again.
    const earlier = messagesUpTo(after);
    if (earlier === undefined) throw new HistoryNotKept();
    const first: ChatMessage[] = said === undefined ? [] : [{ role: "system", content: said }];
    const all = [...first, ...earlier, ...messages];
    if (root.system !== undefined) return this.#planWhole(root, all);
    const whole = rootOf(all, root);
    return this.#planWhole(whole.root, whole.messages);
  }

  /** As if nothing of the conversation were known. */
  planAnew({ root, messages }: Question): Plan {
    return this.#planAfter(root, undefined, messages);
  }

  #planWhole(root: Root, messages: readonly ChatMessage[]): Plan {
    const { turn, rest } = this.parts.turns.longestBeginning(root, messages);
    return this.#planAfter(root, turn, rest);
  }

  #planAfter(root: Root, turn: Turn | undefined, messages: readonly ChatMessage[]): Plan {
    const { maxPromptTokens, text } = this.parts;
    const prompt = this.#render(root, turn, messages);
    const ids = text.tokenizer.encode(prompt);
    if (ids.length > maxPromptTokens) {
      const message = `the new messages take ${ids.length} tokens; one request takes at most ${maxPromptTokens}`;
      throw new ApiError(message, { status: 400, code: "context_length_exceeded" });
    }
    return { root, turn, prompt, ids, messages };
  }

  #render(root: Root, turn: Turn | undefined, messages: readonly ChatMessage[]): string {
    const { template } = this.parts.text;
    const { system, tools, variables } = root;
    if (turn === undefined) {
      const first: ChatMessage[] = system === undefined ? [] : [{ role: "system", content: system }];
      return template.render([...first, ...messages], { tools, variables });
    }
    const { answerWas } = turn;
    return template.delta(messages, { tools, variables, answerWas, ...(system === undefined ? {} : { system }) });
  }
}
