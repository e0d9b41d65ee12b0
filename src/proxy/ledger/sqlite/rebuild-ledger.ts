import { copyRows, type Gap } from '../../../sqlite/recover/copy-rows.ts';
import type { Database } from '../../../sqlite/open-database.ts';
import { clockFaults, restoreTime } from '../../../sqlite/observed-time.ts';
import {
  rebuildDatabase,
  type Rebuilt,
  type SalvageSource,
} from '../../../sqlite/recover/rebuild-database.ts';
import { faultsOf } from '../../../sqlite/is-corruption.ts';
import { sqliteFaults } from '../../../sqlite/sqlite-faults.ts';
import { limits } from '../../../limits.ts';
import { ledgerSchema } from './ledger-schema.ts';

/**
 * Inspects a ledger and, where something is wrong, saves what can be read of it into a new file. A recipient may be lost
 * without a trace. So every recipient of a message that was posted before, and is not known as sent, is suspect: when it
 * is posted again, it is sent and listed as unknown (law 6). Only for the holder of the ledger's lock. `wallNow` is in
 * milliseconds since 1970. Errors are those of rebuildDatabase.
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
        `the ledger ${file} was damaged and is repaired: some recipients may already have their message although the ` +
          'ledger no longer says so. If it is posted again it is sent again, and the recipient is listed as unknown; ' +
          `the damaged file is ${kept}`,
      ],
    },
  );
}

/** Tables whose rows are taken over as they are. */
const COPIED = [
  'recipient',
  'unknown',
  'gap',
  'checked',
  'clock',
  'identity',
  'pace',
  'figure',
  'sample',
] as const;

function inspect(db: Database): string[] {
  return [...faultsOf(() => sqliteFaults(db)), ...faultsOf(() => clockFaults(db))];
}

function save(db: Database, remains: SalvageSource, wallNow: number): void {
  db.pragma('foreign_keys = OFF');
  db.exec(`CREATE TEMP TABLE by_at (at INTEGER NOT NULL, id TEXT NOT NULL) STRICT;
    DELETE FROM checked; DELETE FROM clock; DELETE FROM identity`);
  const copy = (table: string, from = table) => copyRows(db, table, remains.rows(from));
  const messages = copy('message');
  const index = copy('by_at', 'message_at');
  for (const table of COPIED) copy(table);
  const now = restoreTime(db, wallNow);
  const gaps = lostMessages(db, messages, index, remains.logIsCut);
  db.transaction(() => {
    db.exec(`INSERT INTO checked SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM checked);
      INSERT OR IGNORE INTO identity VALUES (1, lower(hex(randomblob(16))));
      INSERT OR IGNORE INTO message (id, digest, at)
        SELECT id, zeroblob(32), 0 FROM by_at UNION SELECT message, zeroblob(32), 0 FROM recipient`);
    // These may be damaged as well: with a wrong digest the message would be refused, with a wrong time forgotten.
    db.prepare('UPDATE message SET digest = zeroblob(32), at = ?, doubtful = 1').run(now);
    for (const table of ['unknown', 'gap']) db.prepare(`UPDATE ${table} SET at = ?`).run(now);
    const add = db.prepare('INSERT INTO gap (low, high, at) VALUES (?, ?, ?)');
    for (const { before, after } of gaps) add.run(before?.[0] ?? '', after?.[0] ?? LAST, now);
  })();
}

/** Where messages may be lost of which no id is left: each id is in the table and in an index. */
function lostMessages(db: Database, messages: Gap[], index: Gap[], logIsCut: boolean): Gap[] {
  const rows = (table: string) =>
    db.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get() ?? 0;
  const [inTable, inIndex] = [rows('message'), rows('by_at')];
  // Messages of a lost part of the log may belong anywhere, and so may messages that are missing without a gap.
  if (logIsCut) return [EVERYWHERE];
  if (messages.length === 0 && inTable >= inIndex) return [];
  if (index.length === 0 && inIndex >= inTable) return [];
  // Every post of a new message looks at all of them (law 11).
  const isFew = messages.length > 0 && messages.length <= limits.ledgerGaps;
  return isFew ? messages : [EVERYWHERE];
}

const EVERYWHERE: Gap = { before: undefined, after: undefined };

/** It sorts after every id. */
const LAST = '\u{10ffff}';
