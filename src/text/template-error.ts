/** The model's chat template can't render this conversation: the message says what it refuses. */
export class TemplateError extends Error {
  override name = "TemplateError";
}
