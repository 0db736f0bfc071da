/** An engine whose answers are dictated: real sequences and caches, and a model that says what it is told. */

import type { EndReason, Engine, Step } from "../../src/engine/engine.ts";

/** @param nextAnswer the ids of the next answer, the end token included */
export function dictated(engine: Engine, nextAnswer: () => Uint32Array): Engine {
  const generate: Engine["generate"] = (sequence, { maxTokens, eosTokenIds }, onStep) => {
    const ids = nextAnswer();
    let allowed = 0;
    let isStopped = false;
    let wake = () => {};
    const run = async (): Promise<EndReason> => {
      for (const [index, id] of ids.entries()) {
        while (allowed === 0 && !isStopped) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        if (isStopped) return "stopped";
        allowed--;
        const state = await engine.append(sequence, Uint32Array.of(id));
        const step: Step = { tokenIds: [id], drafted: 0, state };
        onStep(step);
        if (eosTokenIds.includes(id)) return "eos";
        if (index + 1 === maxTokens) return "max-tokens";
      }
      throw new Error("a dictated answer needs an end token");
    };
    return {
      allow(steps) {
        allowed += steps;
        wake();
      },
      stop() {
        isStopped = true;
        wake();
      },
      ended: run(),
    };
  };
  return new Proxy(engine, {
    get(target, name) {
      if (name === "generate") return generate;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
