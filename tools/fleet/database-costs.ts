/** What sessions cost the database, from its own counts; and how many transactions it takes. */

import { SQL } from "bun";
import type { Postgres } from "./postgres.ts";

export interface Counts {
  transactions: number;
  walBytes: number;
  ids: number;
}

export async function countsOf(postgres: Postgres): Promise<Counts> {
  const [row] = await postgres.rows(`SELECT
    (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS transactions,
    pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS wal,
    (SELECT coalesce(sum(tokens), 0) FROM kakeya.sessions) AS ids`);
  return { transactions: Number(row?.transactions), walBytes: Number(row?.wal), ids: Number(row?.ids) };
}

/** What is there now. */
export async function sizesOf(postgres: Postgres): Promise<Record<string, number>> {
  const [row] = await postgres.rows(`SELECT
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) AS connections,
    (SELECT coalesce(sum(tokens), 0) FROM kakeya.sessions) AS ids,
    pg_total_relation_size('kakeya.journal') AS journal_bytes,
    (SELECT avg(snapshot_bytes) FROM kakeya.sessions) AS snapshot_bytes_a_session,
    pg_total_relation_size('kakeya.chunks') AS snapshot_table_bytes`);
  return Object.fromEntries(Object.entries(row ?? {}).map(([name, value]) => [name, Number(value)]));
}

/** Transactions a second of so many writers, each of which writes a row for each of `rows` sessions, as a step does. */
export async function commitRate(postgres: Postgres, writers: number, rows: number, seconds: number): Promise<number> {
  await postgres.rows(
    "CREATE TABLE IF NOT EXISTS probe (writer int, n bigint, session int, ids bytea, PRIMARY KEY (writer, session, n))",
  );
  await postgres.rows("TRUNCATE probe");
  const endMs = performance.now() + seconds * 1000;
  const commits = await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      await using sql = new SQL(postgres.url, { max: 1 });
      let n = 0;
      while (performance.now() < endMs) {
        await sql`INSERT INTO probe SELECT ${writer}::int, ${n++}::bigint, s, '\\x00000000' FROM generate_series(1, ${rows}::int) s`;
      }
      return n;
    }),
  );
  return commits.reduce((sum, n) => sum + n, 0) / seconds;
}
