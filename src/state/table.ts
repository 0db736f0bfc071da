/** Sessions as a table for a terminal, or as JSON. */

import type { StoredSession } from "./store.ts";

export function sessionTable(sessions: readonly StoredSession[]): string {
  const rows = sessions.map(({ id, label, tokens, activeMs, snapshotBytes }) => [
    printable(id),
    String(tokens),
    new Date(activeMs).toISOString().slice(0, 19).concat("Z"),
    `${(snapshotBytes / 1e6).toFixed(1)} MB`,
    printable(label),
  ]);
  const table = [["id", "tokens", "last active", "snapshots", "label"], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table
    .map((row) =>
      row
        .map((text, i) => text.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

export function sessionJson(sessions: readonly StoredSession[]): string {
  const rows = sessions.map((session) => ({
    id: session.id,
    label: session.label,
    history_tokens: session.tokens,
    generated_tokens: session.generated,
    replayed_tokens: session.replayed,
    first_kept_position: session.keptFrom,
    snapshot_bytes: session.snapshotBytes,
    created_at: new Date(session.createdMs).toISOString(),
    last_active_at: new Date(session.activeMs).toISOString(),
    computed_with: session.facts,
  }));
  return JSON.stringify(rows, null, 2);
}

/** What clients chose goes to a terminal: no control character gets through. */
function printable(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}
