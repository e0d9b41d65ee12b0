import Database from '../better-sqlite3.ts';
import { limits } from '../../limits.ts';
import type { Row, Value } from './read-rows.ts';

/** A place where rows cannot be read, or where the table refuses them: the rows before and behind it, in order. */
export interface Gap {
  before: Value[] | undefined;
  after: Value[] | undefined;
}

/** Adds rows that were read from a damaged file to a table, and returns the gaps between them. */
export function copyRows(
  db: Database.Database,
  table: string,
  rows: Iterable<Row | undefined>,
): Gap[] {
  const insert = inserter(db, table);
  const finder = new GapFinder();
  let bytes = 0;
  db.exec('BEGIN');
  for (const row of rows) {
    const copied = row && insert(row) ? row : undefined;
    finder.add(copied);
    bytes += copied ? sizeOf(copied) : 0;
    if (bytes <= limits.walBytes) continue;
    db.exec('COMMIT; BEGIN');
    bytes = 0;
  }
  db.exec('COMMIT');
  return finder.gaps;
}

/** Finds gaps between rows that are added one after the other; undefined stands for what is missing. */
class GapFinder {
  readonly gaps: Gap[] = [];
  #open: Gap | undefined;
  #before: Value[] | undefined;

  add(row: Row | undefined): void {
    if (!row) {
      if (!this.#open) this.gaps.push((this.#open = { before: this.#before, after: undefined }));
      return;
    }
    if (row.outOfOrder) return;
    if (this.#open) this.#open.after = row.values;
    this.#open = undefined;
    this.#before = row.values;
  }
}

/** Inserts a row; returns false when the table does not take it. */
function inserter(db: Database.Database, table: string): (row: Row) => boolean {
  const columns = db.pragma(`table_info(${table})`) as Column[];
  const [key, ...more] = columns.filter(({ pk }) => pk > 0);
  const alias = more.length === 0 && key?.type === 'INTEGER' ? key : undefined;
  const statements = new Map<number, Database.Statement>();
  return ({ rowid, values }) => {
    // A row from before a migration lacks the columns that were added.
    const names = columns.slice(0, values.length).map(({ name }) => name);
    if (names.length === 0 || names.length < values.length) return false;
    let statement = statements.get(values.length);
    if (!statement) {
      const marks = names.map(() => '?').join();
      statement = db.prepare(`INSERT INTO ${table} (${names.join()}) VALUES (${marks})`);
      statements.set(values.length, statement);
    }
    try {
      statement.run(values.map((value, at) => (alias?.cid === at ? (rowid ?? value) : value)));
      return true;
    } catch (error) {
      const isRefused = error instanceof Database.SqliteError && REFUSED.test(error.code);
      if (!isRefused) throw error;
      return false;
    }
  };
}

interface Column {
  cid: number;
  name: string;
  type: string;
  pk: number;
}

function sizeOf({ values }: Row): number {
  return values.reduce<number>(
    (sum, value) => sum + (typeof value === 'object' ? (value?.length ?? 0) : 8),
    0,
  );
}

const REFUSED = /^SQLITE_(?:CONSTRAINT|MISMATCH|TOOBIG)/;
