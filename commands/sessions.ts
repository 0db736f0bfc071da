import { type CommandDef, defineCommand } from "citty";
import { columns } from "../src/cli/columns.ts";
import { type Command, command } from "../src/cli/command.ts";
import { exit, UsageError } from "../src/cli/exit.ts";
import { print, say } from "../src/cli/output.ts";
import { oneLine } from "../src/cli/plain-text.ts";
import type { StatePlace } from "../src/state/beside.ts";
import type { StoredSession } from "../src/state/store.ts";

const where = {
  state: {
    type: "string",
    description: "The folder or database of serve --state (or KAKEYA_STATE)",
    valueHint: "dir|postgres://...",
  },
  "state-password-file": {
    type: "string",
    description: "File with the database's password (or PGPASSWORD)",
    valueHint: "path",
  },
} as const;
const id = { type: "positional", description: "The session's id, as sessions list prints it", required: true } as const;

const list = command({
  name: "list",
  description: "List the sessions of a state, the most recently active first.",
  args: { ...where, json: { type: "boolean", description: "Print JSON instead of a table", default: false } },
  examples: [],
  async run({ args }) {
    const { stateToRead } = await import("../src/state/beside.ts");
    await using store = await stateToRead(placeOf(args));
    const sessions = await store.list();
    print(args.json ? JSON.stringify(sessions.map(json), null, 2) : table(sessions));
    return exit.done;
  },
});

const exportOne = command({
  name: "export",
  description: "Write a session to one file, which another machine with the same model continues, bit for bit.",
  args: {
    id,
    file: { type: "positional", description: "The file to write", required: true },
    ...where,
    force: { type: "boolean", description: "Replace a file that is not an exported session", default: false },
  },
  examples: [],
  async run({ args }) {
    const { outputDestination } = await import("../src/report/outputs.ts");
    const { stateToRead } = await import("../src/state/beside.ts");
    const { exportSession, isSessionFile } = await import("../src/state/session-file.ts");
    const to = outputDestination(args.file, { inputs: [], force: args.force, chosen: true }, isSessionFile);
    await using store = await stateToRead(placeOf(args));
    if (to.kind !== "file") throw new UsageError(`name a file to write, not ${args.file}`);
    const session = await exportSession(store, args.id, to.target);
    say(`exported ${session.tokens} tokens to ${args.file}; whoever has the file can read and continue the session`);
    return exit.done;
  },
});

const importOne = command({
  name: "import",
  description: "Import a session that was exported; a server that is using the state finds it, too.",
  args: {
    file: { type: "positional", description: "An exported session", required: true },
    ...where,
    "new-id": { type: "boolean", description: "Give it a new id instead of the one it had", default: false },
  },
  examples: [],
  async run({ args }) {
    const { stateToImport } = await import("../src/state/beside.ts");
    const { importSession } = await import("../src/state/session-file.ts");
    const { newSessionId } = await import("../src/session/session-id.ts");
    await using store = await stateToImport(placeOf(args));
    const session = await importSession(store, args.file, args["new-id"] ? newSessionId() : undefined);
    print(session.id);
    return exit.done;
  },
});

const remove = command({
  name: "remove",
  description:
    "Remove a session and all that is kept of it; no server may be using the folder, or have the session of a database.",
  args: { id, ...where },
  examples: [],
  async run({ args }) {
    const { StateError } = await import("../src/state/errors.ts");
    const { stateToRemove } = await import("../src/state/beside.ts");
    await using store = await stateToRemove(placeOf(args));
    if (!(await store.remove(args.id))) {
      throw new StateError("not-found", `there is no session "${args.id}"; see sessions list`);
    }
    return exit.done;
  },
});

const sessions: Command = {
  definition: defineCommand({
    meta: {
      name: "sessions",
      description: "List, export, import and remove the sessions of a state folder or database.",
    },
    subCommands: {
      list: list.definition,
      export: exportOne.definition,
      import: importOne.definition,
      remove: remove.definition,
    },
  }) as CommandDef,
  examples: [
    "sessions list --state kakeya-state",
    "sessions export example example.session --state kakeya-state",
    "sessions import example.session --new-id --state kakeya-state",
    "sessions remove example --state kakeya-state",
  ],
};
export default sessions;

function placeOf(args: { state?: string | undefined; "state-password-file"?: string | undefined }): StatePlace {
  const state = args.state ?? process.env.KAKEYA_STATE;
  if (!state) throw new UsageError("name the sessions' state: --state DIR or --state postgres://..., or KAKEYA_STATE");
  const { "state-password-file": passwordFile } = args;
  return { state, ...(passwordFile === undefined ? {} : { passwordFile }) };
}

function table(sessions: readonly StoredSession[]): string {
  const rows = sessions.map(({ id, label, tokens, activeMs, snapshotBytes }) => [
    oneLine(id),
    String(tokens),
    new Date(activeMs).toISOString().slice(0, 19).concat("Z"),
    `${(snapshotBytes / 1e6).toFixed(1)} MB`,
    oneLine(label),
  ]);
  return columns([["id", "tokens", "last active", "snapshots", "label"], ...rows]);
}

function json(session: StoredSession): object {
  return {
    id: session.id,
    label: session.label,
    history_tokens: session.tokens,
    generated_tokens: session.generated,
    replayed_tokens: session.replayed,
    first_kept_position: session.keptFrom,
    snapshot_bytes: session.snapshotBytes,
    created_at: new Date(session.createdMs).toISOString(),
    last_active_at: new Date(session.activeMs).toISOString(),
    held_by: session.holder ?? null,
    computed_with: session.facts,
  };
}
