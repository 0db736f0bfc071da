import { Database } from "bun:sqlite";
import { chmodSync, closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import type { ChatMessage } from "../text/messages.ts";
import type { Item } from "./items.ts";
import type { ResponseObject } from "./response-object.ts";
import type { ResponseRecord } from "./response-records.ts";
import type { Line, Root, Turn } from "./turn.ts";

const fileName = "text.db";

const tables = `
CREATE TABLE IF NOT EXISTS turns (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  before INTEGER,             -- the turn before
  root TEXT NOT NULL,         -- JSON, as all but the digest, the session and the conversation
  digest TEXT NOT NULL,
  tokens INTEGER NOT NULL,
  answer_was TEXT NOT NULL,
  session TEXT NOT NULL,      -- its ids are in the journal
  messages TEXT,              -- NULL: forgotten
  response TEXT,
  input TEXT,
  conversation TEXT,
  items TEXT                  -- that it added to the conversation
) STRICT;
CREATE TABLE IF NOT EXISTS conversations (
  id TEXT PRIMARY KEY,
  created_s INTEGER NOT NULL,
  metadata TEXT NOT NULL,
  pending TEXT NOT NULL
) STRICT;
DELETE FROM turns WHERE messages IS NULL AND key NOT IN (SELECT before FROM turns WHERE before IS NOT NULL);
`;

export interface StoredConversation {
  id: string;
  createdAtS: number;
  metadata: Record<string, string>;
  pending: readonly Item[];
}

export interface StoredTurn {
  turn: Turn;
  record: ResponseRecord | undefined;
  /** What it added to which conversation. */
  added: { conversationId: string; items: Item[] } | undefined;
}

interface Row {
  key: number;
  before: number | null;
  root: string;
  digest: string;
  tokens: number;
  answer_was: string;
  session: string;
  messages: string | null;
  response: string | null;
  input: string | null;
  conversation: string | null;
  items: string | null;
}

/**
 * Turns, responses and conversations, in a file beside the journal of ids: written before a client hears of them, so
 * that a server that was killed knows them again. A turn's ids are in the journal of its session.
 */
export class TextState {
  readonly #database: Database;
  readonly #keys = new WeakMap<Turn, number>();

  /** @param dir of `--state`, which this server alone has open */
  constructor(dir: string) {
    const path = join(dir, fileName);
    if (!existsSync(path)) closeSync(openSync(path, "wx", 0o600));
    chmodSync(path, 0o600);
    this.#database = new Database(path, { readwrite: true, strict: true });
    this.#database.run("PRAGMA journal_mode = WAL");
    this.#database.run("PRAGMA synchronous = NORMAL");
    this.#database.run("PRAGMA secure_delete = ON"); // What is deleted is gone.
    this.#database.run(tables);
  }

  addTurn(turn: Turn): void {
    const { before, root, digest, tokens, answerWas, sessionId, added } = turn;
    const { lastInsertRowid } = this.#database
      .query(
        `INSERT INTO turns (before, root, digest, tokens, answer_was, session, messages)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        (before && this.#keys.get(before)) ?? null,
        JSON.stringify(root),
        digest,
        tokens,
        answerWas,
        sessionId,
        JSON.stringify(added?.messages ?? []),
      );
    this.#keys.set(turn, Number(lastInsertRowid));
  }

  /** Later turns may still stand on it. */
  forgetTurn(turn: Turn): void {
    const forget = "UPDATE turns SET messages = NULL, response = NULL, input = NULL, items = NULL WHERE key = ?";
    this.#database.query(forget).run(this.#keys.get(turn) ?? null);
  }

  setResponse(turn: Turn, record: ResponseRecord | undefined): void {
    const [response, input] = record === undefined ? [null, null] : [record.response, record.input].map(json);
    const set = "UPDATE turns SET response = ?, input = ? WHERE key = ?";
    this.#database.query(set).run(response ?? null, input ?? null, this.#keys.get(turn) ?? null);
  }

  addToConversation(turn: Turn, conversationId: string, items: readonly Item[]): void {
    const set = "UPDATE turns SET conversation = ?, items = ? WHERE key = ?";
    this.#database.query(set).run(conversationId, json(items), this.#keys.get(turn) ?? null);
  }

  saveConversation({ id, createdAtS, metadata, pending }: StoredConversation): void {
    const replace = "INSERT OR REPLACE INTO conversations (id, created_s, metadata, pending) VALUES (?, ?, ?, ?)";
    this.#database.query(replace).run(id, createdAtS, json(metadata), json(pending));
  }

  removeConversation(id: string): void {
    this.#database.query("DELETE FROM conversations WHERE id = ?").run(id);
  }

  conversations(): StoredConversation[] {
    const rows = this.#database
      .query<{ id: string; created_s: number; metadata: string; pending: string }, []>("SELECT * FROM conversations")
      .all();
    return rows.map(({ id, created_s, metadata, pending }) => ({
      id,
      createdAtS: created_s,
      metadata: JSON.parse(metadata),
      pending: JSON.parse(pending),
    }));
  }

  /** Oldest first. */
  *turns(): Generator<StoredTurn> {
    const byKey = new Map<number, Turn>();
    for (const row of this.#database.query<Row, []>("SELECT * FROM turns ORDER BY key").all()) {
      const before = row.before === null ? undefined : byKey.get(row.before);
      if (row.before !== null && before === undefined) continue;
      const turn = turnOf(row, before);
      byKey.set(row.key, turn);
      this.#keys.set(turn, row.key);
      if (turn.added !== undefined) yield { turn, record: recordOf(row, turn), added: addedOf(row) };
    }
  }

  close(): void {
    this.#database.close();
  }
}

const json = (value: unknown) => JSON.stringify(value);

function turnOf(row: Row, before: Turn | undefined): Turn {
  const line: Line = before?.line ?? new Set();
  const root: Root = JSON.parse(row.root);
  const messages: ChatMessage[] | undefined = row.messages === null ? undefined : JSON.parse(row.messages);
  return {
    before,
    line,
    // JSON leaves out what is undefined.
    root: { ...root, system: root.system },
    digest: row.digest,
    tokens: row.tokens,
    answerWas: row.answer_was === "ended" ? "ended" : "cut",
    added: messages && { messages, ids: undefined },
    sessionId: row.session,
    seat: undefined,
  };
}

function recordOf({ response, input }: Row, turn: Turn): ResponseRecord | undefined {
  if (response === null || input === null) return undefined;
  const parsed: ResponseObject = JSON.parse(response);
  return { response: parsed, input: JSON.parse(input), turn };
}

function addedOf({ conversation, items }: Row): StoredTurn["added"] {
  return conversation === null || items === null
    ? undefined
    : { conversationId: conversation, items: JSON.parse(items) };
}
