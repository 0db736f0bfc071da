/** What a line at the prompt asks for. */
export type Line =
  | { kind: "message"; text: string }
  | { kind: "command"; name: LineCommand }
  | { kind: "unknown"; name: string }
  | { kind: "nothing" };

export const lineCommands = {
  help: "this page",
  new: "start another conversation",
  stats: "what the session costs: history, memory, tokens computed, time a token",
  quit: "end (as Ctrl-D does)",
} as const;
export type LineCommand = keyof typeof lineCommands;

/** `/name` is a command, `//text` the message "/text". */
export function readLine(line: string): Line {
  const text = line.trim();
  if (text === "") return { kind: "nothing" };
  if (text.startsWith("//")) return { kind: "message", text: text.slice(1) };
  if (!text.startsWith("/")) return { kind: "message", text };
  const name = text.slice(1);
  return isLineCommand(name) ? { kind: "command", name } : { kind: "unknown", name };
}

function isLineCommand(name: string): name is LineCommand {
  return Object.hasOwn(lineCommands, name);
}

export const lineHelp = [
  ...Object.entries(lineCommands).map(([name, what]) => [`/${name}`, what]),
  ["//text", "send a message that begins with a slash"],
  ["text\\", "a backslash at the end: the message goes on in the next line"],
  ["Ctrl-C", "stop the answer, or clear the line; twice: end"],
]
  .map(([what = "", does]) => `${what.padEnd(8)} ${does}`)
  .join("\n");
