import { createHash } from 'node:crypto';
import { copyRows, type Gap } from '../../sqlite/recover/copy-rows.ts';
import type { Database } from '../../sqlite/open-database.ts';
import { restoreTime } from '../../sqlite/observed-time.ts';
import {
  rebuildDatabase,
  type Rebuilt,
  type SalvageSource,
} from '../../sqlite/recover/rebuild-database.ts';
import { decodeAddress } from '../../mail/address.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import { findIndexMismatches } from './find-index-mismatches.ts';
import { copyIndexes } from './copy-indexes.ts';
import {
  countRows,
  FORGOTTEN,
  inspectSpool,
  messageFaults,
  readCounters,
  type Amount,
} from './inspect-spool.ts';
import { repairSentences, type Damaged, type Saved } from './repair-sentences.ts';
import { renewTimes } from './renew-times.ts';
import { messageStates, spoolFile, spoolSchema } from '../spool.ts';

/** What came of a rebuilding. */
export interface RebuiltSpool extends Rebuilt, Saved {}

/**
 * Inspects a spool and, where something is wrong, saves what can be read of it into a new file. What has
 * its recipients and bytes is as it was. Only for the holder of the drain lock. `wallNow` is in milliseconds
 * since 1970. Errors are those of rebuildDatabase.
 */
export function rebuildSpool(folder: string, wallNow: number): RebuiltSpool {
  const saved: Saved = { damaged: [], lost: 0, notes: [] };
  const result = rebuildDatabase(
    spoolFile(folder),
    { ...spoolSchema, migrate: true, create: false },
    {
      inspect: inspectSpool,
      fill: (fresh, remains) => Object.assign(saved, new Rescue(fresh, remains, wallNow).save()),
      report: (faults, kept) => repairSentences(folder, faults, kept, saved),
    },
  );
  return { ...result, ...saved };
}

/** Tables whose rows are taken over as they are. */
const TABLES = ['message', 'body', 'recipient', 'notice', 'told', 'history', 'transfer', 'moved'];

class Rescue {
  readonly #db: Database;
  readonly #remains: SalvageSource;
  readonly #wallNow: number;
  readonly #damaged: Damaged[] = [];
  readonly #notes: string[] = [];
  readonly #held = new Set<number>();
  /** How many of the damaged may have been finished before. */
  #finishedPerhaps = 0;

  constructor(db: Database, remains: SalvageSource, wallNow: number) {
    this.#db = db;
    this.#remains = remains;
    this.#wallNow = wallNow;
  }

  save(): Saved {
    const db = this.#db;
    db.pragma('foreign_keys = OFF');
    db.exec('DELETE FROM endpoint; DELETE FROM counter; DELETE FROM clock');
    const gaps = new Map<string, readonly Gap[]>(
      TABLES.map((table) => [table, copyRows(db, table, this.#remains.rows(table))]),
    );
    for (const table of ['endpoint', 'clock']) copyRows(db, table, this.#remains.rows(table));
    const now = restoreTime(db, this.#wallNow);
    db.exec('INSERT OR IGNORE INTO endpoint (only) VALUES (1)');
    const inIndexes = copyIndexes(db, this.#remains);

    return db.transaction(() => {
      const heldBefore = this.#rows(HELD_AS_DAMAGED, statuses.damaged);
      this.#restoreRecipients();
      this.#restoreMessages();
      const ofRecipients = [gaps.get('recipient') ?? [], inIndexes.get('by_address') ?? []];
      this.#holdContradictions(ofRecipients);
      this.#setAside();
      this.#dropOrphans();
      this.#oweReports();
      renewTimes(db, now);
      this.#keepSequence();
      this.#nameWhole(heldBefore);
      const lost = this.#count();
      return { damaged: this.#damaged, lost, notes: this.#notes };
    })();
  }

  /** What was never answered can be posted; of the rest an operator is to decide. */
  #restoreRecipients(): void {
    const decided = this.#rows(
      `SELECT DISTINCT seq FROM message JOIN by_address ON by_address.message = seq
       WHERE (state = 'failed' OR finished_at IS NULL AND attempts > ?)
         AND NOT EXISTS (SELECT 1 FROM recipient
           WHERE recipient.message = seq AND recipient.position = by_address.position)`,
      0,
    );
    for (const { seq } of decided) this.#hold(Number(seq), 'what became of its recipients is lost');
    const restored = this.#db
      .prepare(
        `INSERT OR IGNORE INTO recipient (message, position, address, state, status, reason)
         SELECT by_address.message, position, address,
           CASE WHEN finished_at IS NULL THEN 'pending' WHEN message.state = 'sent' THEN 'sent' ELSE 'deleted' END,
           iif(message.state = 'sent', '2.0.0', NULL), iif(message.state = 'sent', 'restored', NULL)
         FROM by_address LEFT JOIN message ON seq = by_address.message`,
      )
      .run().changes;
    if (restored > 0) this.#notes.push(`${restored} recipients were restored from an index`);
  }

  /** What lacks but its own row has lost its sender: an operator is to decide. */
  #restoreMessages(): void {
    for (const seq of this.#numbers()) {
      const traces = this.#traces(seq);
      const { state } = traces;
      const body = this.#body(seq);
      const [pending] = this.#rows(
        `SELECT 1 FROM recipient WHERE message = ? AND state = 'pending'`,
        seq,
      );
      const isOver = state === undefined ? !body && !pending : FORGOTTEN.has(state);
      if (isOver) continue;
      const isThere = body && pending && state !== 'failed';
      if (isThere && this.#restore(seq, traces, body)) {
        this.#notes.push(`${this.#name(seq)} is held: ${SENDER_LOST}`);
      } else if (body || state !== undefined) {
        this.#damaged.push(this.#describe(seq, 'its row is lost'));
      } else {
        this.#finishedPerhaps += 1;
        const fault = 'its row and bytes are lost; it may have been finished before';
        this.#damaged.push(this.#describe(seq, fault));
      }
    }
  }

  #restore(seq: number, { id, eximId }: Traces, body: { digest: Buffer; size: number }): boolean {
    if (id === undefined) return false;
    const insert = this.#db.prepare(
      `INSERT OR IGNORE INTO message (seq, id, exim_id, digest, sender, size, state, queued_at,
         posted_at, renewed_at, outage_ms, last_status, last_reason)
       VALUES (:seq, :id, :eximId, :digest, x'', :size, 'held', :wallNow, 0, 0, 0, '${statuses.damaged}', :fault)`,
    );
    const values = {
      seq,
      id,
      eximId: eximId ?? 'unknown',
      wallNow: this.#wallNow,
      fault: SENDER_LOST,
    };
    return insert.run({ ...values, ...body }).changes > 0;
  }

  /** An operator is to decide about them. */
  #holdContradictions(ofRecipients: readonly (readonly Gap[])[]): void {
    for (const { seq, fault } of findIndexMismatches(this.#db, ofRecipients))
      this.#hold(seq, fault);
  }

  /** Drain may have held what it could not read, and what can be read now. */
  #nameWhole(heldBefore: readonly Record<string, unknown>[]): void {
    for (const seq of heldBefore.map((row) => Number(row['seq']))) {
      const [message] = this.#rows('SELECT 1 FROM message WHERE seq = ?', seq);
      if (!message || this.#held.has(seq)) continue;
      this.#notes.push(`${this.#name(seq)} was held before, and is whole: queue release sends it`);
    }
  }

  /** Nothing more is sent of what has failed; whom it failed may not all be told of. */
  #hold(seq: number, fault: string): void {
    const { changes } = this.#db
      .prepare(
        `UPDATE message SET state = 'held', due_at = NULL, last_status = ?, last_reason = ?
         WHERE seq = ? AND finished_at IS NULL`,
      )
      .run(statuses.damaged, fault, seq);
    this.#held.add(seq);
    this.#notes.push(`${this.#name(seq)} ${changes > 0 ? 'is held' : 'has failed'}: ${fault}`);
  }

  /** Whoever may not have been told of a failure is told, as migration 2 has it. */
  #oweReports(): void {
    const owed = this.#db
      .prepare(
        `INSERT OR IGNORE INTO notice (message, kind, sender)
         SELECT DISTINCT seq, 'failure', sender FROM message JOIN recipient ON recipient.message = seq
         WHERE recipient.state = 'failed' AND sender <> x''`,
      )
      .run().changes;
    if (owed > 0) this.#notes.push(`${owed} reports of failures are owed anew`);
  }

  /** What lacks its recipients or bytes. A failure can still be reported without its bytes. */
  #setAside(): void {
    for (const { seq, what, fault } of messageFaults(this.#db)) {
      const state = this.#rows('SELECT state FROM message WHERE seq = ?', seq)[0]?.['state'];
      if (what === 'body' && (state === 'failed' || state === 'bounced')) {
        this.#db.prepare('DELETE FROM body WHERE message = ?').run(seq);
        this.#notes.push(`${this.#name(seq)}, which ${state}, has lost its text: ${fault}`);
      } else if (state !== undefined) {
        this.#damaged.push(this.#describe(seq, fault));
        this.#db
          .prepare(
            `UPDATE message SET state = 'deleted', due_at = NULL, finished_at = 0 WHERE seq = ?`,
          )
          .run(seq);
        this.#db.prepare('DELETE FROM message WHERE seq = ?').run(seq);
      }
    }
  }

  #dropOrphans(): void {
    // What an operator deleted may have left bytes on a damaged page.
    this.#db.exec(
      `DELETE FROM body WHERE message IN (SELECT seq FROM message WHERE state IN ('sent', 'deleted'))`,
    );
    this.#db.exec('DELETE FROM moved WHERE transfer NOT IN (SELECT number FROM transfer)');
    for (const table of ['body', 'recipient', 'notice', 'history', 'moved']) {
      this.#db.exec(`DELETE FROM ${table} WHERE message NOT IN (SELECT seq FROM message)`);
    }
  }

  /** No number is given again. */
  #keepSequence(): void {
    const last = this.#rows(
      `SELECT max(seq) AS seq FROM (SELECT seq FROM old_sequence UNION ALL SELECT seq FROM by_id
         UNION ALL SELECT seq FROM message UNION ALL SELECT ? AS seq)`,
      0,
    )[0]?.['seq'];
    this.#db.exec(`DELETE FROM sqlite_sequence WHERE name = 'message'`);
    this.#db.prepare(`INSERT INTO sqlite_sequence (name, seq) VALUES ('message', ?)`).run(last);
  }

  /** Law 8: what is not there and was not finished is damaged. Returns how many of it are lost now. */
  #count(): number {
    const old = readCounters(this.#db, 'old_counter');
    if (!old) {
      this.#notes.push(
        'the counters were lost and count anew what is there: more messages may be lost than are named',
      );
    }
    const messages = this.#tally('messages', old, this.#damaged.length - this.#finishedPerhaps);
    const bytes = this.#tally('bytes', old, 0);
    const add = this.#db.prepare('INSERT INTO counter (name, messages, bytes) VALUES (?, ?, ?)');
    for (const [name, count] of messages) add.run(name, count, bytes.get(name));
    return (messages.get('damaged') ?? 0) - (old?.get('damaged')?.messages ?? 0);
  }

  /** The counters in one unit, from what is there and what was counted; `lost` is what is known to be lost now. */
  #tally(
    unit: keyof Amount,
    old: Map<string, Amount> | undefined,
    lost: number,
  ): Map<string, number> {
    const rows = countRows(this.#db);
    const counters = new Map<string, number>();
    for (const state of messageStates) {
      const there = rows.get(state)?.[unit] ?? 0;
      const counted = FORGOTTEN.has(state) ? (old?.get(state)?.[unit] ?? 0) : 0;
      counters.set(state, Math.max(there, counted));
    }
    const sum = [...counters.values()].reduce((total, count) => total + count, 0);
    const damaged = (old?.get('damaged')?.[unit] ?? 0) + lost;
    const accepted = Math.max(old?.get('accepted')?.[unit] ?? 0, sum + damaged);
    return counters.set('damaged', accepted - sum).set('accepted', accepted);
  }

  /** The numbers of messages whose row is lost. */
  #numbers(): number[] {
    return this.#rows(
      `SELECT DISTINCT seq FROM (SELECT message AS seq FROM body UNION ALL SELECT message FROM recipient
         UNION ALL SELECT message FROM notice UNION ALL SELECT message FROM history
         UNION ALL SELECT seq FROM by_id UNION ALL SELECT seq FROM by_exim_id
         UNION ALL SELECT seq FROM by_state)
       WHERE seq > ? AND seq NOT IN (SELECT seq FROM message) ORDER BY seq`,
      0,
    ).map(({ seq }) => Number(seq));
  }

  /** What indexes say of a message. */
  #traces(seq: number): Traces {
    const [found = {}] = this.#rows(
      `SELECT (SELECT id FROM by_id WHERE seq = n) AS id,
         (SELECT exim_id FROM by_exim_id WHERE seq = n) AS eximId,
         (SELECT state FROM by_state WHERE seq = n) AS state FROM (SELECT ? AS n)`,
      seq,
    );
    const text = (name: keyof Traces) => (found[name] ?? undefined) as string | undefined;
    return { id: text('id'), eximId: text('eximId'), state: text('state') };
  }

  /** Digest and size of the bytes of a message whose row is lost; undefined when some may be missing. */
  #body(seq: number): { digest: Buffer; size: number } | undefined {
    const parts = this.#rows('SELECT part, bytes FROM body WHERE message = ? ORDER BY part', seq);
    const hash = createHash('sha256');
    let size = 0;
    for (const [index, { part, bytes }] of parts.entries()) {
      const isFull = (bytes as Buffer).length === limits.bodyPartBytes;
      if (part !== index || isFull === (index === parts.length - 1)) return undefined;
      hash.update(bytes as Buffer);
      size += (bytes as Buffer).length;
    }
    return parts.length === 0 ? undefined : { digest: hash.digest(), size };
  }

  #describe(seq: number, fault: string): Damaged {
    const [row] = this.#rows(
      'SELECT id, exim_id AS eximId, sender FROM message WHERE seq = ?',
      seq,
    );
    const { id, eximId } = row ? (row as { id: string; eximId: string }) : this.#traces(seq);
    const addresses = this.#rows(
      'SELECT address FROM recipient WHERE message = ? ORDER BY position',
      seq,
    );
    return {
      id,
      eximId,
      sender: row && decodeAddress(row['sender'] as Buffer),
      recipients: addresses.map(({ address }) => decodeAddress(address as Buffer)),
      fault,
    };
  }

  #name(seq: number): string {
    const { id, eximId } = this.#describe(seq, '');
    return `message ${id} (Exim's ${eximId})`;
  }

  #rows(sql: string, parameter: number | string): Record<string, unknown>[] {
    return this.#db.prepare<[number | string], Record<string, unknown>>(sql).all(parameter);
  }
}

/** What indexes say of a message. */
type Traces = Record<'id' | 'eximId' | 'state', string | undefined>;

const HELD_AS_DAMAGED = `SELECT seq FROM message WHERE state = 'held' AND last_status = ?`;
const SENDER_LOST =
  'its sender is lost, release sends it with the null sender, so that failures are told to nobody';
