/** How a message becomes the text that a turn appends. */

export const templateNames = ["raw", "chatml"] as const;
export type TemplateName = (typeof templateNames)[number];

/** How the answer before this message ended: none yet, by the model's own end token, or cut off. */
export type PreviousAnswer = "none" | "ended" | "cut";

/**
 * - raw: the message and a line break, nothing else.
 * - chatml: user and assistant roles as Qwen's chat models were trained on. What the answer before left open is
 *   closed first: its end token is in the history already, but the line break after it is not.
 */
export function promptText(template: TemplateName, message: string, previous: PreviousAnswer): string {
  if (template === "raw") return message.endsWith("\n") ? message : `${message}\n`;
  const close = { none: "", ended: "\n", cut: "<|im_end|>\n" }[previous];
  return `${close}<|im_start|>user\n${message}<|im_end|>\n<|im_start|>assistant\n`;
}
