/** What the user of a run says: messages in rotation. */

import { extname } from "node:path";

export interface Workload {
  /** "built-in" or the path of its file. */
  name: string;
  /** At least one; turn n says messages[n mod length]. */
  messages: readonly string[];
}

/** Short questions of about equal length, so that a difference between turns is the runtime's. */
export const builtInWorkload: Workload = {
  name: "built-in",
  messages: [
    "What is a sliding window KV cache?",
    "Explain the role of the sink tokens.",
    "How does this differ from prefix caching?",
    "What are the typical sink and window sizes?",
    "Walk me through one inference step.",
    "Summarize what we discussed in two sentences.",
  ],
};

/** A workload file that can't be used; the message names the file, the line and what is wrong with it. */
export class WorkloadError extends Error {
  override name = "WorkloadError";
}

/**
 * Reads one message a line; in files named .jsonl or .ndjson each line is a JSON string, or an object whose
 * `message` is one. Empty lines don't count. "-" is the standard input.
 */
export async function readWorkload(path: string): Promise<Workload> {
  let text: string;
  try {
    text = await (path === "-" ? Bun.stdin : Bun.file(path)).text();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new WorkloadError(`can't read the workload ${path}: ${why}`, { cause });
  }
  return { name: path, messages: parseWorkload(text, path) };
}

/** `path` says the format and is named in errors. */
export function parseWorkload(text: string, path: string): string[] {
  const isJsonLines = [".jsonl", ".ndjson"].includes(extname(path).toLowerCase());
  const messages: string[] = [];
  for (const [index, line] of text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    if (line.trim() === "") continue;
    messages.push(isJsonLines ? messageOfJson(line, `${path}:${index + 1}`) : line);
  }
  if (messages.length === 0) throw new WorkloadError(`${path} holds no message; write one a line`);
  return messages;
}

function messageOfJson(line: string, place: string): string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new WorkloadError(`${place} is not JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  const message: unknown = typeof value === "object" && value !== null && "message" in value ? value.message : value;
  if (typeof message === "string" && message !== "") return message;
  throw new WorkloadError(`${place} must be a string or {"message": "..."}, and not empty; it is ${line.slice(0, 80)}`);
}
