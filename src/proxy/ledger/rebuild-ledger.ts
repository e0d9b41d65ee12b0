import { copyRows, type Gap } from '../../sqlite/recover/copy-rows.ts';
import type { Database } from '../../sqlite/open-database.ts';
import { clockFaults, restoreTime } from '../../sqlite/observed-time.ts';
import {
  rebuildDatabase,
  type Rebuilt,
  type SalvageSource,
} from '../../sqlite/recover/rebuild-database.ts';
import { faultsOf } from '../../sqlite/is-corruption.ts';
import { sqliteFaults } from '../../sqlite/sqlite-faults.ts';
import { limits } from '../../limits.ts';
import { ledgerSchema } from './ledger.ts';

/**
 * Inspects a ledger and, where something is wrong, saves what can be read of it into a new file. A recipient
 * may be lost of which no trace is left: so who was posted before and is not known as sent may have been, and is
 * listed as unknown when he is posted again (law 6). Only for the holder of the ledger's lock. `wallNow` is in milliseconds
 * since 1970. Errors are those of rebuildDatabase.
 */
export function rebuildLedger(file: string, wallNow: number): Rebuilt {
  return rebuildDatabase(
    file,
    { ...ledgerSchema, migrate: true, create: false },
    {
      inspect,
      fill: (fresh, remains) => save(fresh, remains, wallNow),
      report: (faults, kept) => [
        ...new Set(faults),
        `the ledger ${file} was damaged and is repaired: who was posted before and is not known as sent ` +
          'may have been, is sent to when posted again, and then listed as unknown; ' +
          `the damaged file is ${kept}`,
      ],
    },
  );
}

function inspect(db: Database): string[] {
  return [...faultsOf(() => sqliteFaults(db)), ...faultsOf(() => clockFaults(db))];
}

function save(db: Database, remains: SalvageSource, wallNow: number): void {
  db.pragma('foreign_keys = OFF');
  db.exec(`CREATE TEMP TABLE by_at (at INTEGER NOT NULL, id TEXT NOT NULL) STRICT;
    DELETE FROM checked; DELETE FROM clock`);
  const copy = (table: string, from = table) => copyRows(db, table, remains.rows(from));
  const messages = copy('message');
  const index = copy('by_at', 'message_at');
  for (const table of ['recipient', 'unknown', 'gap', 'checked', 'clock']) copy(table);
  const now = restoreTime(db, wallNow);
  const gaps = lostMessages(db, messages, index, remains.logIsCut);
  db.transaction(() => {
    db.exec(`INSERT INTO checked SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM checked);
      INSERT OR IGNORE INTO message (id, digest, at)
        SELECT id, zeroblob(32), 0 FROM by_at UNION SELECT message, zeroblob(32), 0 FROM recipient`);
    // Nothing vouches for these: by a wrong digest its message is refused, by a wrong time it is forgotten.
    db.prepare('UPDATE message SET digest = zeroblob(32), at = ?, doubtful = 1').run(now);
    for (const table of ['unknown', 'gap']) db.prepare(`UPDATE ${table} SET at = ?`).run(now);
    const add = db.prepare('INSERT INTO gap (low, high, at) VALUES (?, ?, ?)');
    for (const { before, after } of gaps) add.run(before?.[0] ?? '', after?.[0] ?? LAST, now);
  })();
}

/** Where messages may be lost of which no id is left: the table has them and an index. */
function lostMessages(db: Database, messages: Gap[], index: Gap[], logIsCut: boolean): Gap[] {
  const rows = (table: string) =>
    db.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get() ?? 0;
  const [inTable, inIndex] = [rows('message'), rows('by_at')];
  // What a part of the log had may be anywhere; so may be what is missing where no gap is.
  if (logIsCut) return [EVERYWHERE];
  if (messages.length === 0 && inTable >= inIndex) return [];
  if (index.length === 0 && inIndex >= inTable) return [];
  // Every post of a new message looks at all of them (law 11).
  const isFew = messages.length > 0 && messages.length <= limits.ledgerGaps;
  return isFew ? messages : [EVERYWHERE];
}

const EVERYWHERE: Gap = { before: undefined, after: undefined };

/** Behind every id. */
const LAST = '\u{10ffff}';
