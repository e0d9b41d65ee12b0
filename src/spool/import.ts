import { spaceFault } from '../host/free-space.ts';
import { limits } from '../limits.ts';
import { deleteBodies, writeBody } from './body.ts';
import { outageMs } from './endpoint.ts';
import { SpoolFullError } from './enqueue.ts';
import { recordTransfer, type Exported } from './export.ts';
import { keepFromDrain, queue, tooOld } from './operate.ts';
import type { MessageState, RecipientState, Spool } from './spool.ts';
import { isExported } from './transfer.ts';

/** A message that is read from a file, its bytes in one piece. */
export type Imported = Omit<Exported, 'bytes'> & { bytes: Buffer };

/** What came of it: `known` is what this queue has or had for all of its recipients; `other` is another message of that id. */
export type ImportResult = 'imported' | 'held' | 'known' | 'other';

/**
 * Stores messages of a file under their ids, in one transaction that is on disk when this returns. A recipient that is
 * known here, by the key of law 2, is not stored again, but for one that an earlier export took away: the file brings it
 * back. What the proxy may have forgotten, by the file or by what
 * is known here, is held. `transitMs` is for how long the file has been under way, as far as
 * the wall clock knows. Throws SpoolFullError or SqliteError, and then nothing is stored.
 */
export function importMessages(
  spool: Spool,
  transfer: number,
  messages: readonly Imported[],
  { now, transitMs }: { now: number; transitMs: number },
): ImportResult[] {
  const growth = messages.reduce((sum, { size }) => sum + size, 0);
  const fault = spaceFault(spool.folder, growth);
  if (fault) throw new SpoolFullError(fault);
  return spool.transaction(() =>
    messages.map((message) => importOne(spool, transfer, message, { now, transitMs })),
  );
}

function importOne(
  spool: Spool,
  transfer: number,
  message: Imported,
  times: { now: number; transitMs: number },
): ImportResult {
  const found = findMessage(spool, message.id);
  if (isAnother(found, message)) return 'other';
  const missing = missingRecipients(spool, transfer, message);
  if (missing.length === 0) return 'known';

  const postedAt = earliest(found?.postedAt, postedAtOf(message, times));
  const held = message.held || tooOld({ postedAt }, times.now);
  const place = placeOf(spool, found);
  const seq = found?.seq ?? insert(spool, message, times.now);
  // The export was not confirmed here, but its file has come back: the file says who is still pending.
  if (place === 'exported') deletePending(spool, seq);
  spool.sql('UPDATE message SET posted_at = ? WHERE seq = ?').run(postedAt, seq);
  addRecipients(spool, seq, missing);
  if (place === 'sending') return 'imported'; // It stays so: the proxy's answer is to be recorded.
  if (place !== 'waiting') {
    deleteBodies(spool, [seq]);
    writeBody(spool, seq, [message.bytes]);
    queue(spool, seq, times.now);
    recordTransfer(spool, seq, transfer, held);
  }
  if (held) keepFromDrain(spool, seq);
  return held ? 'held' : 'imported';
}

/** Where a message of that id is: it waits here, or it has to be queued with the bytes of the file. */
type Place = 'waiting' | 'sending' | 'exported' | 'finished or new';

function placeOf(spool: Spool, found: Found | undefined): Place {
  if (!found || isFinished(found.state)) return 'finished or new';
  if (isExported(spool, found)) return 'exported';
  return found.state === 'sending' ? 'sending' : 'waiting';
}

function findMessage(spool: Spool, id: string): Found | undefined {
  return spool
    .sql<Found>(
      `SELECT seq, state, exim_id AS eximId, digest, posted_at AS postedAt FROM message WHERE id = ?`,
    )
    .get(id);
}

function isAnother(found: Found | undefined, { eximId, digest }: Imported): boolean {
  return found !== undefined && !(found.eximId === eximId && found.digest.equals(digest));
}

/**
 * When a message was first posted, as far as the file tells, in observed time; null when it never was. Where the file has
 * been under way for so long that the proxy may have forgotten a post, the message counts as posted.
 */
function postedAtOf(
  { postedMs }: Imported,
  { now, transitMs }: { now: number; transitMs: number },
): number | null {
  if (postedMs === null && transitMs <= limits.renewalMs) return null;
  return Math.max(0, now - (postedMs ?? 0) - transitMs);
}

function earliest(one: number | null = null, two: number | null = null): number | null {
  return one === null || two === null ? (one ?? two) : Math.min(one, two);
}

function deletePending(spool: Spool, seq: number): void {
  spool
    .sql(`UPDATE recipient SET state = 'deleted' WHERE message = ? AND state = 'pending'`)
    .run(seq);
}

interface Found {
  seq: number;
  state: MessageState;
  eximId: string;
  digest: Buffer;
  postedAt: number | null;
}

/** The recipients that this queue does not have: it never had them, or an export before this import took them away. */
function missingRecipients(
  spool: Spool,
  transfer: number,
  { id, eximId, digest, recipients }: Imported,
) {
  const known = new Set(
    spool
      .sql<{ address: Buffer; state: RecipientState; id: string; movedBefore: number }>(
        `SELECT recipient.address, recipient.state, message.id,
           EXISTS (SELECT 1 FROM moved JOIN transfer ON number = moved.transfer
             WHERE moved.message = seq AND what = 'export' AND number < :transfer) AS movedBefore
         FROM message JOIN recipient ON recipient.message = message.seq
         WHERE message.exim_id = :eximId AND message.digest = :digest`,
      )
      .all({ eximId, digest, transfer })
      .filter((row) => !(row.id === id && BACK.has(row.state) && row.movedBefore === 1))
      .map(({ address }) => address.toString('latin1')),
  );
  return recipients.filter((address) => !known.has(address.toString('latin1')));
}

function insert(spool: Spool, message: Imported, now: number): number {
  const { lastInsertRowid } = spool
    .sql(
      `INSERT INTO message (id, exim_id, digest, sender, size, state, queued_at, renewed_at, outage_ms, last_status, last_reason)
       VALUES (:id, :eximId, :digest, :sender, :size, 'held', :queuedAt, :now, :outageMs, :lastStatus, :lastReason)`,
    )
    .run({
      id: message.id,
      eximId: message.eximId,
      digest: message.digest,
      sender: message.sender,
      size: message.size,
      queuedAt: message.queuedAt,
      lastStatus: message.lastStatus,
      lastReason: message.lastReason,
      now,
      outageMs: outageMs(spool, now),
    });
  return Number(lastInsertRowid);
}

function addRecipients(spool: Spool, seq: number, addresses: readonly Buffer[]): void {
  const add = spool.sql(
    `INSERT INTO recipient (message, position, address)
     SELECT :seq, coalesce(max(position), -1) + 1, :address FROM recipient WHERE message = :seq
     ON CONFLICT (message, address) DO UPDATE SET state = 'pending', status = NULL, reason = NULL, remote_mta = NULL`,
  );
  for (const address of addresses) add.run({ seq, address });
}

/** States of a recipient whose message was exported: the export is confirmed, or not. */
const BACK: ReadonlySet<RecipientState> = new Set<RecipientState>(['deleted', 'pending']);

function isFinished(state: MessageState): boolean {
  return state !== 'queued' && state !== 'sending' && state !== 'held';
}
