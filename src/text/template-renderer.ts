import { ModelError } from "../checkpoint/model-error.ts";
import { type CompiledTemplate, compileTemplate } from "./jinja.ts";
import type { ChatMessage, Tool } from "./messages.ts";
import { TemplateError } from "./template-error.ts";
import type { TemplateFile } from "./template-file.ts";
import { callProbe, type Probe, probes, sentinel } from "./template-probes.ts";
import { type ArgumentsForm, templateMessage, templateTool } from "./template-values.ts";

/** Options for a whole conversation, not for one message. */
export interface TemplateOptions {
  /** Functions that the model may call. */
  tools?: readonly Tool[];
  /** Variables of the model's own template, for example `enable_thinking: false` for Qwen3. */
  variables?: Readonly<Record<string, unknown>>;
}

/** Renders messages as they are given, in the form that the template takes them in. */
export class TemplateRenderer {
  readonly #plain: CompiledTemplate;
  readonly #withTools: CompiledTemplate;
  readonly #writes = new Map<Probe, boolean>();
  #argumentsForm: ArgumentsForm | undefined;

  /** @throws ModelError when the file does not hold a Jinja template. */
  constructor(
    private readonly file: TemplateFile,
    private readonly now: () => Date,
  ) {
    try {
      this.#plain = compileTemplate(file.source);
      this.#withTools = file.sourceWithTools === file.source ? this.#plain : compileTemplate(file.sourceWithTools);
    } catch (cause) {
      const problem = `its chat template is no Jinja that kakeya understands: ${reason(cause)}`;
      throw new ModelError(file.file, problem, "Correct it or download it again", { cause });
    }
  }

  /** The whole conversation, up to where the next answer begins. @throws TemplateError when the template refuses it. */
  render(messages: readonly ChatMessage[], options: TemplateOptions, form = this.#argumentsFor(messages)): string {
    const hasTools = options.tools !== undefined && options.tools.length > 0;
    const template = hasTools ? this.#withTools : this.#plain;
    const variables = {
      ...this.file.specialTokens,
      ...options.variables,
      messages: messages.map((message) => templateMessage(message, form)),
      // transformers defines both, as None where there are none.
      tools: hasTools ? options.tools?.map(templateTool) : null,
      documents: null,
      add_generation_prompt: true,
    };
    try {
      return template(variables, this.now());
    } catch (cause) {
      throw new TemplateError(`the model's chat template refuses these messages: ${reason(cause)}`, { cause });
    }
  }

  /** Whether `probe` shows in the rendering. Where the template refuses it, it is no silent loss. */
  writes(probe: Probe): boolean {
    const known = this.#writes.get(probe);
    if (known !== undefined) return known;
    const { messages, tools } = probes[probe];
    const shows = attempt(() => this.render(messages, tools === undefined ? {} : { tools }).includes(sentinel));
    const writes = shows ?? probe !== "tools";
    this.#writes.set(probe, writes);
    return writes;
  }

  /** Most templates take a call's arguments as an object and write it with `tojson`; some take its text. */
  #argumentsFor(messages: readonly ChatMessage[]): ArgumentsForm {
    const hasCalls = messages.some((message) => message.role === "assistant" && (message.toolCalls ?? []).length > 0);
    if (!hasCalls) return "object";
    // Where it does not fit, quotes come out escaped, or not at all.
    const fits = (form: ArgumentsForm) =>
      attempt(() => this.render(callProbe, {}, form).includes(`"${sentinel}":`)) ?? false;
    this.#argumentsForm ??= fits("object") || !fits("text") ? "object" : "text";
    return this.#argumentsForm;
  }
}

/** Undefined when it throws. */
function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
