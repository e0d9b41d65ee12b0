import { copyRows, type Gap } from '../host/copy-rows.ts';
import type { Database } from '../host/open-database.ts';
import { faultsOf, rebuildDatabase, type Remains } from '../host/rebuild-database.ts';
import { sqliteFaults } from '../host/sqlite-faults.ts';
import { migrations } from './ledger.ts';

/**
 * Inspects a ledger and, where something is wrong, saves what can be read of it into a new file. That
 * remembers between which ids entries are lost: a recipient that is posted there may have been sent, and is
 * listed as unknown (law 6). Only for the holder of the ledger's lock. Returns what was wrong, the number of
 * such gaps and where the damaged file is. Errors are those of rebuildDatabase.
 */
export function rebuildLedger(
  file: string,
  now: number,
): { faults: string[]; gaps: number; kept?: string } {
  let gaps: Gap[] = [];
  const result = rebuildDatabase(
    file,
    { name: 'ledger', migrations, migrate: true, create: false },
    {
      inspect: (db) => faultsOf(() => sqliteFaults(db)),
      fill: (fresh, remains) => {
        gaps = save(fresh, remains, now);
      },
    },
  );
  return { ...result, gaps: gaps.length };
}

function save(db: Database, remains: Remains, now: number): Gap[] {
  db.pragma('foreign_keys = OFF');
  db.exec(`CREATE TEMP TABLE by_at (at INTEGER NOT NULL, id TEXT NOT NULL) STRICT;
    DELETE FROM checked`);
  for (const table of ['message', 'unknown', 'gap', 'checked']) {
    copyRows(db, table, remains.rows(table));
  }
  copyRows(db, 'by_at', remains.rows('message_at'));
  const gaps = copyRows(db, 'recipient', remains.rows('recipient'));
  // What a part of the log had may be anywhere.
  if (remains.logIsCut) gaps.push({ before: undefined, after: undefined });
  db.transaction(() => {
    db.exec(`INSERT INTO checked SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM checked);
      INSERT OR IGNORE INTO message SELECT id, zeroblob(32), at FROM by_at`);
    db.prepare(
      'INSERT OR IGNORE INTO message SELECT DISTINCT message, zeroblob(32), ? FROM recipient',
    ).run(now);
    const add = db.prepare('INSERT INTO gap (low, high, at) VALUES (?, ?, ?)');
    // A message at the edge may have lost some of its recipients.
    for (const { before, after } of gaps) add.run(before?.[0] ?? '', after?.[0] ?? LAST, now);
  })();
  return gaps;
}

/** Behind every id. */
const LAST = '\u{10ffff}';
