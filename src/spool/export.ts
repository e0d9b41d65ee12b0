import { limits } from '../limits.ts';
import { readBody } from './body.ts';
import { isBeingReturned, keepFromDrain, queue, tooOld } from './operate.ts';
import { finish } from './record.ts';
import type { MessageState, Spool } from './spool.ts';
import { isExported } from './transfer.ts';

/** A message as a file of `queue export` carries it: for those of its recipients that are pending. */
export interface Exported {
  id: string;
  eximId: string;
  /** SHA-256 of the bytes. */
  digest: Buffer;
  /** Octets, as all addresses here. */
  sender: Buffer;
  recipients: Buffer[];
  size: number;
  /** By the wall clock: milliseconds since 1970. */
  queuedAt: number;
  /** How long ago it was first posted, in observed time; null when never. */
  postedMs: number | null;
  /** Whether an operator or drain held it. */
  held: boolean;
  lastStatus: string | null;
  lastReason: string | null;
  /** Throws while it is iterated when they are not those that were stored. */
  bytes: Iterable<Buffer>;
}

/** What came of exporting a message; without more it stays as it is. See OperationResult. */
export type TakeOutResult = 'done' | 'busy' | 'exported' | 'wrong-state' | 'missing';

/**
 * Keeps messages from drain and operators, for an export, in one transaction: from now on only the export's end says
 * what becomes of them. Messages that are being sent or given to Exim are left alone.
 */
export function takeOut(spool: Spool, transfer: number, ids: readonly string[]): TakeOutResult[] {
  return spool.transaction(() => ids.map((id) => takeOne(spool, transfer, id)));
}

function takeOne(spool: Spool, transfer: number, id: string): TakeOutResult {
  const message = spool
    .sql<{ seq: number; state: MessageState }>('SELECT seq, state FROM message WHERE id = ?')
    .get(id);
  if (!message) return 'missing';
  if (message.state === 'sending' || isBeingReturned(spool, message)) return 'busy';
  if (isExported(spool, message)) return 'exported';
  if (message.state !== 'queued' && message.state !== 'held') return 'wrong-state';
  const { seq } = message;
  recordTransfer(spool, seq, transfer, message.state === 'held');
  keepFromDrain(spool, seq);
  return 'done';
}

/** A message that was taken out, to be written into the file. */
export function readExported(spool: Spool, id: string, now: number): Exported {
  const message = spool
    .sql<
      Omit<Exported, 'recipients' | 'held' | 'bytes' | 'postedMs'> & {
        seq: number;
        wasHeld: number;
        postedAt: number | null;
      }
    >(
      `SELECT seq, id, exim_id AS eximId, digest, sender, size, queued_at AS queuedAt, posted_at AS postedAt,
         last_status AS lastStatus, last_reason AS lastReason, was_held AS wasHeld
       FROM message JOIN moved ON moved.message = seq WHERE id = ?`,
    )
    .get(id);
  if (!message) throw new Error(`message ${id} was not taken out`);
  const { seq, wasHeld, postedAt, ...rest } = message;
  return {
    ...rest,
    postedMs: postedAt === null ? null : Math.max(0, now - postedAt),
    held: wasHeld === 1,
    recipients: spool
      .sql<{ address: Buffer }>(
        `SELECT address FROM recipient WHERE message = ? AND state = 'pending' ORDER BY position`,
      )
      .all(seq)
      .map(({ address }) => address),
    bytes: readBody(spool, seq, rest.size),
  };
}

/** Another queue has the recipients of these messages: they are deleted here. Once more does nothing. */
export function confirmExported(
  spool: Spool,
  transfer: number,
  messages: readonly Pick<Exported, 'id' | 'recipients'>[],
  now: number,
): number {
  return spool.transaction(() => {
    let confirmed = 0;
    const gone = spool.sql(
      `UPDATE recipient SET state = 'deleted' WHERE message = ? AND address = ? AND state = 'pending'`,
    );
    for (const { id, recipients } of messages) {
      const row = spool
        .sql<{ seq: number }>(
          `SELECT seq FROM message JOIN moved ON moved.message = seq
           WHERE id = ? AND transfer = ? AND state = 'held'`,
        )
        .get(id, transfer);
      if (!row) continue;
      for (const address of recipients) gone.run(row.seq, address);
      if (finish(spool, row.seq, now)) confirmed += 1;
    }
    return confirmed;
  });
}

/**
 * No other queue has or gets the messages of an export: they are here as they were before, and what waits is due, with a
 * new lifetime; but what the proxy may have forgotten stays held. One bounded step; returns how many came back.
 */
export function takeBack(spool: Spool, transfer: number, now: number): number {
  return spool.transaction(() => {
    const messages = spool
      .sql<{ seq: number; wasHeld: number; postedAt: number | null; state: MessageState }>(
        `SELECT seq, was_held AS wasHeld, posted_at AS postedAt, state
         FROM moved JOIN message ON seq = message WHERE transfer = ? LIMIT ${limits.operatorBatch}`,
      )
      .all(transfer);
    for (const message of messages) {
      const { seq, wasHeld, state } = message;
      spool.sql('DELETE FROM moved WHERE message = ?').run(seq);
      if (state === 'held' && wasHeld === 0 && !tooOld(message, now)) queue(spool, seq, now);
    }
    return messages.length;
  });
}

/** One message is not exported after all, as its bytes cannot be read: it is as it was. */
export function undoTakeOut(spool: Spool, id: string, now: number): void {
  spool.transaction(() => {
    const message = spool
      .sql<{ seq: number; wasHeld: number }>(
        'SELECT seq, was_held AS wasHeld FROM message JOIN moved ON message = seq WHERE id = ?',
      )
      .get(id);
    if (!message) return;
    spool.sql('DELETE FROM moved WHERE message = ?').run(message.seq);
    if (message.wasHeld === 0) queue(spool, message.seq, now);
  });
}

/** Notes the latest transfer of a message. Runs inside the caller's transaction. */
export function recordTransfer(
  spool: Spool,
  seq: number,
  transfer: number,
  wasHeld: boolean,
): void {
  spool
    .sql(
      `INSERT INTO moved (message, transfer, was_held) VALUES (:seq, :transfer, :wasHeld)
       ON CONFLICT (message) DO UPDATE SET transfer = :transfer, was_held = :wasHeld`,
    )
    .run({ seq, transfer, wasHeld: Number(wasHeld) });
}
