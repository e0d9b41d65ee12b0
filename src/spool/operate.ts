import { isCorruption } from '../sqlite/is-corruption.ts';
import { encodeAddress } from '../mail/address.ts';
import { statuses } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import { deleteBodies, hasBody } from './body.ts';
import { callEndpoint, outageMs } from './endpoint.ts';
import { addToHistory } from './history.ts';
import { finish } from './record.ts';
import { returnRuns } from './locks.ts';
import type { MessageState, RecipientState, Spool } from './spool.ts';
import { isExported } from './transfer.ts';

/** What an operator may do to a message. `return` has a second half, `returned`. */
export type Verb = 'retry' | 'hold' | 'release' | 'bounce' | 'delete' | 'return';

/** What is to be done, and when that is in observed time. */
export interface Order {
  verb: Verb | 'returned';
  now: number;
  /** Also where the proxy may have forgotten that it sent the message, and by any proxy, although another may have sent it. */
  force?: boolean;
}

/**
 * What came of it. `busy`: it is being sent, or given to Exim; `exported`: it is in a file, and another queue may have it;
 * `needs-force`: the proxy may have forgotten that it sent it; `wrong-state`: the verb is not for what is in this state.
 */
export type OperationResult =
  'done' | 'busy' | 'exported' | 'needs-force' | 'wrong-state' | 'missing';

/** What came of it, and how many recipients of the message it was done for. */
export interface OperationOutcome {
  operated: OperationResult;
  recipients: number;
}

/** A message as far as an operation looks at it. */
interface MessageRow {
  seq: number;
  state: MessageState;
  postedAt: number | null;
}

/**
 * Applies the verb to one message, in one transaction, and adds it to the message's history. What is
 * being sent is left alone (`busy`): drain alone decides about it; so is what is being given to Exim.
 */
export function operate(spool: Spool, id: string, order: Order): OperationResult {
  const [outcome] = operateEach(spool, [id], order);
  return outcome?.operated ?? 'missing';
}

/** The same with several messages, in one transaction. */
export function operateEach(
  spool: Spool,
  ids: readonly string[],
  { verb, now, force = false }: Order,
): OperationOutcome[] {
  const each = (forget: typeof deleteBodies) =>
    spool.transaction(() => {
      const outcomes = ids.map((id) => operateOn(spool, id, { verb, now, force, forget }));
      if (SENDS.has(verb) && outcomes.some(({ operated }) => operated === 'done')) {
        callEndpoint(spool);
      }
      return outcomes;
    });
  try {
    return each(deleteBodies);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return each(() => {}); // Bytes on a damaged page go when the spool is repaired.
  }
}

interface OperationContext extends Required<Order> {
  /** Deletes a body. */
  forget: typeof deleteBodies;
}

function operateOn(spool: Spool, id: string, context: OperationContext): OperationOutcome {
  const { verb } = context;
  const row = spool
    .sql<MessageRow>('SELECT seq, state, posted_at AS postedAt FROM message WHERE id = ?')
    .get(id);
  const notBegun = row ? hindrance(spool, row, verb) : 'missing';
  if (!row || notBegun !== undefined) return { operated: notBegun ?? 'missing', recipients: 0 };
  const recipients = countIn(spool, row.seq, concerned(verb, row));
  const operated = operations[verb](spool, row, context);
  if (operated !== 'done') return { operated, recipients: 0 };
  addToHistory(spool, { seq: row.seq, what: verb });
  return { operated, recipients };
}

/** Why nobody but another program may decide about a message now; undefined where an operator may. */
function hindrance(
  spool: Spool,
  row: MessageRow,
  verb: Order['verb'],
): 'busy' | 'exported' | undefined {
  if (row.state === 'sending') return 'busy';
  if (isExported(spool, row)) return 'exported';
  return !OF_RETURN.has(verb) && isBeingReturned(spool, row) ? 'busy' : undefined;
}

/** The states of the recipients that a verb is about. */
function concerned(verb: Order['verb'], { state }: MessageRow): RecipientState[] {
  if (verb === 'delete') return ['pending', 'failed', 'bounced'];
  if (!isWaiting(state)) return ['failed', 'bounced'];
  return verb === 'retry' ? ['pending', 'failed'] : ['pending'];
}

function countIn(spool: Spool, seq: number, states: readonly RecipientState[]): number {
  const recipients = spool.sql<{ state: RecipientState }>(
    'SELECT state FROM recipient WHERE message = ?',
  );
  return recipients.all(seq).filter(({ state }) => states.includes(state)).length;
}

/**
 * Writes down that Exim did not take a message that was to be returned, or took it only for the recipients in `taken`,
 * who are Exim's from now on. The message stays held for the others that are pending, of whom there is at least one.
 */
export function recordReturnRefused(
  spool: Spool,
  id: string,
  reason: string,
  taken: readonly string[] = [],
): void {
  spool.transaction(() => {
    const message = spool.sql<{ seq: number }>('SELECT seq FROM message WHERE id = ?').get(id);
    if (!message) return;
    const leave = spool.sql(
      `UPDATE recipient SET state = 'deleted' WHERE message = ? AND address = ? AND state = 'pending'`,
    );
    for (const address of taken) leave.run(message.seq, encodeAddress(address));
    if (taken.length > 0) addToHistory(spool, { seq: message.seq, what: 'returned' });
    addToHistory(spool, { seq: message.seq, what: 'kept', reason });
  });
}

const operations: Record<Order['verb'], typeof retry> = {
  retry,
  hold,
  release,
  bounce,
  delete: deleteMessage,
  return: beginReturn,
  returned: endReturn,
};

/** Due now, with a new lifetime; what failed is pending again while its body is there. */
function retry(spool: Spool, row: MessageRow, { now, force }: OperationContext): OperationResult {
  const { seq, state } = row;
  if (state !== 'queued' && !isFailedWithBody(spool, row)) return 'wrong-state';
  if (!force && tooOld(row, now)) return 'needs-force';
  if (force) forgetProxy(spool, seq);
  // While others wait, a delivery would surprise a sender who was told of the failure.
  revive(spool, seq, state === 'queued' ? ['failed'] : ['failed', 'bounced']);
  queue(spool, seq, now);
  return 'done';
}

function hold(spool: Spool, { seq, state }: MessageRow): OperationResult {
  if (state !== 'queued') return 'wrong-state';
  keepFromDrain(spool, seq);
  return 'done';
}

/** Due now, with a new lifetime: time held does not count. */
function release(spool: Spool, row: MessageRow, { now, force }: OperationContext): OperationResult {
  if (row.state !== 'held') return 'wrong-state';
  if (!force && tooOld(row, now)) return 'needs-force';
  if (force) forgetProxy(spool, row.seq);
  queue(spool, row.seq, now);
  return 'done';
}

/** Fails what is pending. As for every failure, its sender gets a report. */
function bounce(
  spool: Spool,
  { seq, state }: MessageRow,
  { now }: OperationContext,
): OperationResult {
  if (!isWaiting(state)) return 'wrong-state';
  spool
    .sql(
      `UPDATE recipient SET state = 'failed', status = :status, reason = :reason, remote_mta = NULL
       WHERE message = :seq AND state = 'pending'`,
    )
    .run({ seq, status: statuses.cancelled, reason: CANCELLED });
  finish(spool, seq, now);
  return 'done';
}

function deleteMessage(
  spool: Spool,
  { seq, state }: MessageRow,
  { now, forget }: OperationContext,
): OperationResult {
  if (!isWaiting(state) && state !== 'failed' && state !== 'bounced') return 'wrong-state';
  deleteRecipients(spool, seq, ['pending', 'failed', 'bounced']);
  finish(spool, seq, now, forget);
  return 'done';
}

/**
 * Held, so that drain leaves it alone while it is given to Exim. After a crash it stays held, for an
 * operator to look at. The failed recipients of a finished message are pending again.
 */
function beginReturn(spool: Spool, row: MessageRow): OperationResult {
  const { seq, state } = row;
  if (!isWaiting(state) && !isFailedWithBody(spool, row)) return 'wrong-state';
  if (!isWaiting(state)) revive(spool, seq, ['failed', 'bounced']);
  keepFromDrain(spool, seq);
  return 'done';
}

/** Exim has it. */
function endReturn(
  spool: Spool,
  { seq, state }: MessageRow,
  { now, forget }: OperationContext,
): OperationResult {
  if (!isWaiting(state)) return 'wrong-state';
  deleteRecipients(spool, seq, ['pending']);
  finish(spool, seq, now, forget);
  return 'done';
}

/** Whether it is held because some program is giving it to Exim at this moment. */
export function isBeingReturned(
  spool: Spool,
  { seq, state }: Pick<MessageRow, 'seq' | 'state'>,
): boolean {
  if (state !== 'held') return false;
  const last = spool
    .sql<{ what: string }>(
      'SELECT what FROM history WHERE message = ? ORDER BY number DESC LIMIT 1',
    )
    .get(seq);
  return last?.what === 'return' && returnRuns(spool.folder);
}

/** After these an operator expects the message to be sent now. */
const SENDS: ReadonlySet<string> = new Set<Verb>(['retry', 'release']);
const OF_RETURN: ReadonlySet<string> = new Set<Verb | 'returned'>(['return', 'returned']);

function isWaiting(state: MessageState): boolean {
  return state === 'queued' || state === 'held';
}

function isFailedWithBody(spool: Spool, { seq, state }: MessageRow): boolean {
  return (state === 'failed' || state === 'bounced') && hasBody(spool, seq);
}

/** It may go to any proxy, although another one may have sent it. */
function forgetProxy(spool: Spool, seq: number): void {
  spool.sql('UPDATE message SET posted_to = NULL WHERE seq = ?').run(seq);
}

/** Due now, with a new lifetime. */
export function queue(spool: Spool, seq: number, now: number): void {
  spool
    .sql(
      `UPDATE message SET state = 'queued', due_at = :now, finished_at = NULL, deferrals = 0, warned = 0,
         renewed_at = :now, outage_ms = :outageMs WHERE seq = :seq`,
    )
    .run({ seq, now, outageMs: outageMs(spool, now) });
}

/** Held. Runs inside the caller's transaction. */
export function keepFromDrain(spool: Spool, seq: number): void {
  spool
    .sql(`UPDATE message SET state = 'held', due_at = NULL, finished_at = NULL WHERE seq = ?`)
    .run(seq);
}

function revive(spool: Spool, seq: number, states: ('failed' | 'bounced')[]): void {
  const revived = spool.sql(
    `UPDATE recipient SET state = 'pending', status = NULL, reason = NULL, remote_mta = NULL
     WHERE message = ? AND state = ?`,
  );
  for (const state of states) revived.run(seq, state);
}

function deleteRecipients(spool: Spool, seq: number, states: string[]): void {
  const deleted = spool.sql(
    `UPDATE recipient SET state = 'deleted' WHERE message = ? AND state = ?`,
  );
  for (const state of states) deleted.run(seq, state);
}

/** The proxy forgets what it sent after 30 days: a post later than that could send it twice. */
export function tooOld({ postedAt }: Pick<MessageRow, 'postedAt'>, now: number): boolean {
  return postedAt !== null && now - postedAt > limits.renewalMs;
}

const CANCELLED = 'an administrator of the sending host cancelled the delivery';
