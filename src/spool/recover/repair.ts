import type { Gap } from '../../sqlite/recover/copy-rows.ts';
import type { Database } from '../../sqlite/open-database.ts';
import { decodeAddress } from '../../mail/address.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import type { Damaged, Saved } from './repair-sentences.ts';

/** A repair of a spool under way: what its steps know, and what they find. */
export interface Repair extends Saved {
  /** Observed time of the repaired spool. */
  readonly now: number;
  /** Milliseconds since 1970. */
  readonly wallNow: number;
  /** Where recipients may be lost: in their table, and in its index by address. */
  readonly recipientGaps: readonly (readonly Gap[])[];
  /** Messages that drain held because it could not read them. */
  readonly heldBefore: readonly number[];
  /** Messages that the repair holds. */
  readonly held: Set<number>;
  /** How many of the damaged may have been finished before. */
  finishedPerhaps: number;
}

/** What indexes say of a message. */
export type Traces = Record<'id' | 'eximId' | 'state', string | undefined>;

/** The rows of a query. Its text says their type, and the new file's tables are STRICT. */
export function rowsOf<Row>(db: Database, sql: string, ...parameters: (number | string)[]): Row[] {
  return db.prepare<(number | string)[], Row>(sql).all(...parameters);
}

/**
 * Holds a message for an operator to decide about. Failed messages stay failed: nothing more is sent of it, and its report
 * may not name all whom it failed.
 */
export function hold(
  db: Database,
  { held, notes }: Pick<Repair, 'held' | 'notes'>,
  seq: number,
  fault: string,
): void {
  const { changes } = db
    .prepare(
      `UPDATE message SET state = 'held', due_at = NULL, last_status = ?, last_reason = ?
       WHERE seq = ? AND finished_at IS NULL`,
    )
    .run(statuses.damaged, fault, seq);
  // The end of an export does not release it either.
  db.prepare('UPDATE moved SET was_held = 1 WHERE message = ?').run(seq);
  held.add(seq);
  notes.push(`${nameOf(db, seq)} ${changes > 0 ? 'is held' : 'has failed'}: ${fault}`);
}

/** What indexes say of a message. */
export function tracesOf(db: Database, seq: number): Traces {
  const [found] = rowsOf<Record<keyof Traces, string | null>>(
    db,
    `SELECT (SELECT id FROM by_id WHERE seq = n) AS id,
       (SELECT exim_id FROM by_exim_id WHERE seq = n) AS eximId,
       (SELECT state FROM by_state WHERE seq = n) AS state FROM (SELECT ? AS n)`,
    seq,
  );
  const { id, eximId, state } = found ?? { id: null, eximId: null, state: null };
  return { id: id ?? undefined, eximId: eximId ?? undefined, state: state ?? undefined };
}

/** All that can still be said of a message. */
export function describe(db: Database, seq: number, fault: string): Damaged {
  const [row] = rowsOf<{ id: string; eximId: string; sender: Buffer }>(
    db,
    'SELECT id, exim_id AS eximId, sender FROM message WHERE seq = ?',
    seq,
  );
  const addresses = rowsOf<{ address: Buffer }>(
    db,
    'SELECT address FROM recipient WHERE message = ? ORDER BY position',
    seq,
  );
  const { id, eximId } = row ?? tracesOf(db, seq);
  return {
    id,
    eximId,
    sender: row && decodeAddress(row.sender),
    recipients: addresses.map(({ address }) => decodeAddress(address)),
    fault,
  };
}

export function nameOf(db: Database, seq: number): string {
  const { id, eximId } = describe(db, seq, '');
  return `message ${id} (Exim's ${eximId})`;
}
