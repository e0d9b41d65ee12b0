import { noProgress, type Progress } from '../../host/progress.ts';
import { copyRows, type Gap } from '../../sqlite/recover/copy-rows.ts';
import type { Database } from '../../sqlite/open-database.ts';
import { restoreTime } from '../../sqlite/observed-time.ts';
import {
  rebuildDatabase,
  type Rebuilt,
  type SalvageSource,
} from '../../sqlite/recover/rebuild-database.ts';
import type { Row } from '../../sqlite/recover/read-rows.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import { spoolFile, spoolSchema } from '../spool.ts';
import { copyIndexes } from './copy-indexes.ts';
import { countAnew } from './count-anew.ts';
import { findIndexMismatches } from './find-index-mismatches.ts';
import { inspectSpool, messageFaults } from './inspect-spool.ts';
import { describe, hold, nameOf, rowsOf, type Repair } from './repair.ts';
import { repairSentences, type Saved } from './repair-sentences.ts';
import { renewTimes } from './renew-times.ts';
import { restoreMessages } from './restore-messages.ts';

/** What came of a rebuilding. */
export interface RebuiltSpool extends Rebuilt, Saved {}

/**
 * Inspects a spool and, where something is wrong, saves what can be read of it into a new file. A message that has
 * its recipients and bytes is as it was. Only for the holder of the drain lock. `wallNow` is in milliseconds
 * since 1970. Errors are those of rebuildDatabase.
 */
export function rebuildSpool(folder: string, wallNow: number, progress = noProgress): RebuiltSpool {
  const saved: Saved = { damaged: [], lost: 0, notes: [] };
  const result = rebuildDatabase(
    spoolFile(folder),
    { ...spoolSchema, migrate: true, create: false },
    {
      inspect: (db) => inspectSpool(db, progress),
      fill: (fresh, source) => {
        const rows = (table: string) => counted(table, source.rows(table), progress);
        Object.assign(saved, salvage(fresh, { ...source, rows }, wallNow));
      },
      report: (faults, kept) => repairSentences(folder, faults, kept, saved),
    },
  );
  return { ...result, ...saved };
}

/** What is done to the copied rows, in this order, in one transaction. */
const STEPS: readonly ((db: Database, repair: Repair) => void)[] = [
  restoreRecipients,
  restoreMessages,
  holdMismatches,
  removeDamaged,
  dropOrphans,
  oweReports,
  (db, { now }) => renewTimes(db, now),
  keepSequence,
  nameWhole,
  countAnew,
];

/** Tables whose rows are taken over as they are. */
const TABLES = [
  'message',
  'body',
  'recipient',
  'notice',
  'told',
  'history',
  'transfer',
  'moved',
  'figure',
  'sample',
  'proxy',
];

/** Fills an empty new spool with what can be read of a damaged one. */
function salvage(db: Database, source: SalvageSource, wallNow: number): Saved {
  db.pragma('foreign_keys = OFF');
  db.exec('DELETE FROM endpoint; DELETE FROM counter; DELETE FROM clock');
  const gaps = new Map<string, readonly Gap[]>(
    TABLES.map((table) => [table, copyRows(db, table, source.rows(table))]),
  );
  for (const table of ['endpoint', 'clock']) copyRows(db, table, source.rows(table));
  const now = restoreTime(db, wallNow);
  db.exec('INSERT OR IGNORE INTO endpoint (only) VALUES (1)');
  const gapsOfIndexes = copyIndexes(db, source);

  const repair: Repair = {
    now,
    wallNow,
    recipientGaps: [gaps.get('recipient') ?? [], gapsOfIndexes.get('by_address') ?? []],
    heldBefore: rowsOf<{ seq: number }>(db, HELD_AS_DAMAGED, statuses.damaged).map(
      ({ seq }) => seq,
    ),
    damaged: [],
    notes: [],
    held: new Set(),
    finishedPerhaps: 0,
    lost: 0,
  };
  db.transaction(() => {
    for (const step of STEPS) step(db, repair);
  })();
  const { damaged, lost, notes } = repair;
  return { damaged, lost, notes };
}

/** The rows of a table; the messages whose bytes are among them are counted. */
function* counted(
  table: string,
  rows: Iterable<Row | undefined>,
  progress: Progress,
): Generator<Row | undefined> {
  if (table === 'body') progress.begin(undefined);
  for (const row of rows) {
    if (table === 'body' && row?.values[1] === 0) progress.add(1);
    yield row;
  }
}

/** A recipient who was never answered for can be posted; about the others an operator is to decide. */
function restoreRecipients(db: Database, repair: Repair): void {
  const decided = rowsOf<{ seq: number }>(
    db,
    `SELECT DISTINCT seq FROM message JOIN by_address ON by_address.message = seq
     WHERE (state = 'failed' OR finished_at IS NULL AND attempts > 0)
       AND NOT EXISTS (SELECT 1 FROM recipient
         WHERE recipient.message = seq AND recipient.position = by_address.position)`,
  );
  for (const { seq } of decided) hold(db, repair, seq, 'what became of its recipients is lost');
  const restored = db
    .prepare(
      `INSERT OR IGNORE INTO recipient (message, position, address, state, status, reason)
       SELECT by_address.message, position, address,
         CASE WHEN finished_at IS NULL THEN 'pending' WHEN message.state = 'sent' THEN 'sent' ELSE 'deleted' END,
         iif(message.state = 'sent', '2.0.0', NULL), iif(message.state = 'sent', 'restored', NULL)
       FROM by_address LEFT JOIN message ON seq = by_address.message`,
    )
    .run().changes;
  if (restored > 0) repair.notes.push(`${restored} recipients were restored from an index`);
}

/** An operator is to decide about them. */
function holdMismatches(db: Database, repair: Repair): void {
  for (const { seq, fault } of findIndexMismatches(db, repair.recipientGaps)) {
    hold(db, repair, seq, fault);
  }
}

/** Messages that lack their recipients or bytes. A failure can still be reported without its bytes. */
function removeDamaged(db: Database, repair: Repair): void {
  for (const { seq, what, fault } of messageFaults(db)) {
    const [message] = rowsOf<{ state: string }>(db, 'SELECT state FROM message WHERE seq = ?', seq);
    if (!message) continue;
    const { state } = message;
    if (what === 'body' && (state === 'failed' || state === 'bounced')) {
      db.prepare('DELETE FROM body WHERE message = ?').run(seq);
      repair.notes.push(`${nameOf(db, seq)}, which ${state}, has lost its text: ${fault}`);
      continue;
    }
    repair.damaged.push(describe(db, seq, fault));
    // Only a finished message can be forgotten.
    db.prepare(
      `UPDATE message SET state = 'deleted', due_at = NULL, finished_at = 0 WHERE seq = ?`,
    ).run(seq);
    db.prepare('DELETE FROM message WHERE seq = ?').run(seq);
  }
}

function dropOrphans(db: Database): void {
  // What an operator deleted may have left bytes on a damaged page.
  db.exec(
    `DELETE FROM body WHERE message IN (SELECT seq FROM message WHERE state IN ('sent', 'deleted'))`,
  );
  db.exec('DELETE FROM moved WHERE transfer NOT IN (SELECT number FROM transfer)');
  db.exec('UPDATE message SET posted_to = NULL WHERE posted_to NOT IN (SELECT number FROM proxy)');
  for (const table of ['body', 'recipient', 'notice', 'history', 'moved']) {
    db.exec(`DELETE FROM ${table} WHERE message NOT IN (SELECT seq FROM message)`);
  }
}

/** A failure that may not have been reported is reported, as migration 2 has it. */
function oweReports(db: Database, { notes }: Repair): void {
  const owed = db
    .prepare(
      `INSERT OR IGNORE INTO notice (message, kind, sender)
       SELECT DISTINCT seq, 'failure', sender FROM message JOIN recipient ON recipient.message = seq
       WHERE recipient.state = 'failed' AND sender <> x''`,
    )
    .run().changes;
  if (owed > 0) notes.push(`${owed} reports of failures are owed anew`);
}

/** No number is given again. */
function keepSequence(db: Database): void {
  db.exec(`DELETE FROM sqlite_sequence WHERE name = 'message'`);
  db.exec(
    `INSERT INTO sqlite_sequence (name, seq) SELECT 'message', max(seq) FROM
       (SELECT seq FROM old_sequence UNION ALL SELECT seq FROM by_id
          UNION ALL SELECT seq FROM message UNION ALL SELECT 0 AS seq)`,
  );
}

/** Drain may have held what it could not read, and what can be read now. */
function nameWhole(db: Database, { heldBefore, held, notes }: Repair): void {
  for (const seq of heldBefore) {
    const [message] = rowsOf(db, 'SELECT 1 FROM message WHERE seq = ?', seq);
    if (!message || held.has(seq)) continue;
    notes.push(`${nameOf(db, seq)} was held before, and is whole: queue release sends it`);
  }
}

const HELD_AS_DAMAGED = `SELECT seq FROM message WHERE state = 'held' AND last_status = ?`;
