import { limits } from '../limits.ts';
import type { Database } from './open-database.ts';

/** What SQLite itself finds wrong with a database: its pages, indexes, constraints and foreign keys. */
export function sqliteFaults(db: Database): string[] {
  const found = db.pragma(`integrity_check(${limits.namedFaults})`) as Record<string, string>[];
  const orphans = db.pragma('foreign_key_check') as { table: string; parent: string }[];
  const tables = new Set(orphans.map(({ table, parent }) => `rows of ${table} without ${parent}`));
  // One row may have a line for each of very many faults.
  const lines = found.flatMap((row) => row['integrity_check']?.split('\n') ?? []);
  const faults = lines.filter((line) => line !== 'ok' && !line.startsWith('***'));
  return [...faults.slice(0, limits.namedFaults), ...tables];
}
