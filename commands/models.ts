import { columns } from "../src/cli/columns.ts";
import { command } from "../src/cli/command.ts";
import { print } from "../src/cli/output.ts";
import { oneLine } from "../src/cli/plain-text.ts";
import { formatBytes } from "../src/cli/units.ts";
import type { Servable } from "../src/engine/servable.ts";

const quantizations = ["q8", "q4", "f32"] as const;

export default command({
  name: "models",
  description: "List the models on this machine: the embedded one and those in the Hugging Face cache.",
  args: { json: { type: "boolean", description: "Print JSON instead of a table", default: false } },
  examples: ["models", "models --json"],
  async run({ args }) {
    const { hubModelName, modelsInHubCaches } = await import("../src/checkpoint/hub-cache.ts");
    const { resolveModel } = await import("../src/checkpoint/resolve.ts");
    const embedded = resolveModel(undefined, process.env);
    const inHub = modelsInHubCaches(process.env).map((model) => ({ modelId: hubModelName(model), dir: model.dir }));
    const models = await Promise.all([embedded, ...inHub].map(look));
    print(args.json ? JSON.stringify(models.map(json), null, 2) : table(models));
    return undefined;
  },
});

interface Model {
  modelId: string;
  dir: string;
  found: Servable | undefined;
  /** Why it can't be served; undefined when it can. */
  problem: string | undefined;
  /** Why it takes no messages, only ids. */
  chatProblem: string | undefined;
}

async function look({ modelId, dir }: { modelId: string; dir: string }): Promise<Model> {
  const { servable } = await import("../src/engine/servable.ts");
  const { loadTokenizer } = await import("../src/text/tokenizer.ts");
  const { loadChatTemplate } = await import("../src/text/chat-template.ts");
  const attempt = <T>(act: () => T): { value?: T; problem?: string } => {
    try {
      return { value: act() };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { problem: oneLine(message.replaceAll(`${dir}/`, "").replace(`${dir}: `, "")) };
    }
  };
  const { value: found, problem } = attempt(() => servable(dir));
  const { problem: chatProblem } = attempt(() => loadChatTemplate(dir, loadTokenizer(dir), []));
  return { modelId, dir, found, problem, chatProblem };
}

/** The quantizations for which this machine has the memory. */
function fitting({ sizes }: Servable): string[] {
  return quantizations.filter((each) => sizes[each].memoryBytes <= process.constrainedMemory());
}

function json({ modelId, dir, found, problem, chatProblem }: Model): object {
  return {
    model: modelId,
    dir,
    problem: problem ?? null,
    chat_problem: chatProblem ?? null,
    ...(found === undefined
      ? {}
      : {
          architecture: found.architecture,
          parameters: found.parameters,
          weight_bytes: found.weightBytes,
          engine_file_bytes: Object.fromEntries(quantizations.map((each) => [each, found.sizes[each].engineFileBytes])),
          memory_bytes: Object.fromEntries(quantizations.map((each) => [each, found.sizes[each].memoryBytes])),
          fits: fitting(found),
        }),
  };
}

function table(models: readonly Model[]): string {
  const rows = models.map(({ modelId, found, problem, chatProblem }) => [
    oneLine(modelId),
    found === undefined ? "" : formatBytes(found.weightBytes),
    ...quantizations.map((each) => (found === undefined ? "" : formatBytes(found.sizes[each].engineFileBytes))),
    chatProblem === undefined ? "yes" : "no",
    found === undefined ? `can't be served: ${problem}` : readiness(fitting(found)),
  ]);
  return columns([["model", "weights", ...quantizations, "chat", "ready"], ...rows]);
}

function readiness(fits: readonly string[]): string {
  if (fits.length === quantizations.length) return "yes";
  return fits.length === 0 ? "no: too large for this machine's memory" : `with --quant ${fits.join(" or ")}`;
}
