/** What ONNX Runtime says of a failure, without the place in its source, which it puts before: one line. */
export function failureOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // "/source/file.cc:136 function(...) condition was false. Why"
  return message
    .replace(/^\/\S+:\d+ .*? was false\. /s, "")
    .replace(/\s+/g, " ")
    .trim();
}
