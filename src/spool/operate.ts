import { isCorruption } from '../sqlite/is-corruption.ts';
import { encodeAddress } from '../mail/address.ts';
import { statuses } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import { deleteBody, hasBody } from './body.ts';
import { callEndpoint, outageMs } from './endpoint.ts';
import { remember } from './history.ts';
import { finish } from './record.ts';
import { returnRuns } from './return-lock.ts';
import type { MessageState, RecipientState, Spool } from './spool.ts';
import { isExported } from './transfer.ts';

/** What an operator may do to a message. `return` has a second half, `returned`. */
export type Verb = 'retry' | 'hold' | 'release' | 'bounce' | 'delete' | 'return';

/**
 * What came of it. `busy`: it is being sent, or given to Exim; `exported`: it is in a file, and another queue may have it;
 * `old`: it wants --force; `unfit`: not in this state.
 */
export type Operated = 'done' | 'busy' | 'exported' | 'old' | 'unfit' | 'missing';

/** What came of it, and how many recipients of the message it was done for. */
export interface Outcome {
  operated: Operated;
  recipients: number;
}

interface Subject {
  seq: number;
  state: MessageState;
  postedAt: number | null;
}

/**
 * Applies the verb to one message, in one transaction, and adds it to the message's history. What is
 * being sent is left alone (`busy`): drain alone decides about it; so is what is being given to Exim.
 */
export function operate(
  spool: Spool,
  verb: Verb | 'returned',
  id: string,
  now: number,
  force = false,
): Operated {
  const [outcome] = operateEach(spool, verb, [id], now, force);
  return outcome?.operated ?? 'missing';
}

/** The same with several messages, in one transaction. */
export function operateEach(
  spool: Spool,
  verb: Verb | 'returned',
  ids: readonly string[],
  now: number,
  force = false,
): Outcome[] {
  const each = (forget: typeof deleteBody) =>
    spool.transaction(() => {
      const outcomes = ids.map((id) => operateOn(spool, verb, id, { now, force, forget }));
      if (SENDS.has(verb) && outcomes.some(({ operated }) => operated === 'done')) {
        callEndpoint(spool);
      }
      return outcomes;
    });
  try {
    return each(deleteBody);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return each(() => {}); // Bytes on a damaged page go when the spool is repaired.
  }
}

interface Circumstances {
  now: number;
  force: boolean;
  /** Deletes a body. */
  forget: typeof deleteBody;
}

function operateOn(
  spool: Spool,
  verb: Verb | 'returned',
  id: string,
  circumstances: Circumstances,
): Outcome {
  const subject = spool
    .sql<Subject>('SELECT seq, state, posted_at AS postedAt FROM message WHERE id = ?')
    .get(id);
  if (!subject) return { operated: 'missing', recipients: 0 };
  if (subject.state === 'sending') return { operated: 'busy', recipients: 0 };
  if (isExported(spool, subject)) return { operated: 'exported', recipients: 0 };
  if (!OF_RETURN.has(verb) && isBeingReturned(spool, subject)) {
    return { operated: 'busy', recipients: 0 };
  }
  const recipients = countIn(spool, subject.seq, concerned(verb, subject));
  const operated = verbs[verb](spool, subject, circumstances);
  if (operated !== 'done') return { operated, recipients: 0 };
  remember(spool, subject.seq, { what: verb });
  return { operated, recipients };
}

/** The states of the recipients that a verb is about. */
function concerned(verb: Verb | 'returned', { state }: Subject): RecipientState[] {
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
 * Writes down that Exim did not take a message that was to be returned, or only for the recipients in `taken`, who are
 * others' no more: it stays held for the rest of those that are pending, and there is one.
 */
export function keep(
  spool: Spool,
  id: string,
  reason: string,
  taken: readonly string[] = [],
): void {
  spool.transaction(() => {
    const message = spool.sql<Subject>('SELECT seq FROM message WHERE id = ?').get(id);
    if (!message) return;
    const remove = spool.sql(
      `UPDATE recipient SET state = 'deleted' WHERE message = ? AND address = ? AND state = 'pending'`,
    );
    for (const address of taken) remove.run(message.seq, encodeAddress(address));
    if (taken.length > 0) remember(spool, message.seq, { what: 'returned' });
    remember(spool, message.seq, { what: 'kept', reason });
  });
}

const verbs: Record<Verb | 'returned', typeof retry> = {
  retry,
  hold,
  release,
  bounce,
  delete: remove,
  return: beginReturn,
  returned: endReturn,
};

/** Due now, with a new lifetime; what failed is pending again while its body is there. */
function retry(spool: Spool, subject: Subject, { now, force }: Circumstances): Operated {
  const { seq, state } = subject;
  if (state !== 'queued' && !isFailedWithBody(spool, subject)) return 'unfit';
  if (!force && tooOld(subject, now)) return 'old';
  // While others wait, whoever was told of a failure would be surprised by a delivery.
  revive(spool, seq, state === 'queued' ? ['failed'] : ['failed', 'bounced']);
  queue(spool, seq, now);
  return 'done';
}

function hold(spool: Spool, { seq, state }: Subject): Operated {
  if (state !== 'queued') return 'unfit';
  keepFromDrain(spool, seq);
  return 'done';
}

/** Due now, with a new lifetime: time held does not count. */
function release(spool: Spool, subject: Subject, { now, force }: Circumstances): Operated {
  if (subject.state !== 'held') return 'unfit';
  if (!force && tooOld(subject, now)) return 'old';
  queue(spool, subject.seq, now);
  return 'done';
}

/** Fails what is pending; that its sender is told follows from the failure, whoever caused it. */
function bounce(spool: Spool, { seq, state }: Subject, { now }: Circumstances): Operated {
  if (!isWaiting(state)) return 'unfit';
  spool
    .sql(
      `UPDATE recipient SET state = 'failed', status = :status, reason = :reason, remote_mta = NULL
       WHERE message = :seq AND state = 'pending'`,
    )
    .run({ seq, status: statuses.cancelled, reason: CANCELLED });
  finish(spool, seq, now);
  return 'done';
}

function remove(spool: Spool, { seq, state }: Subject, { now, forget }: Circumstances): Operated {
  if (!isWaiting(state) && state !== 'failed' && state !== 'bounced') return 'unfit';
  deleteRecipients(spool, seq, ['pending', 'failed', 'bounced']);
  finish(spool, seq, now, forget);
  return 'done';
}

/**
 * Held, so that drain leaves it alone while it is given to Exim; after a crash it stays so, for an
 * operator to see. Of a finished message what failed is pending again.
 */
function beginReturn(spool: Spool, subject: Subject): Operated {
  const { seq, state } = subject;
  if (!isWaiting(state) && !isFailedWithBody(spool, subject)) return 'unfit';
  if (!isWaiting(state)) revive(spool, seq, ['failed', 'bounced']);
  keepFromDrain(spool, seq);
  return 'done';
}

/** Exim has it. */
function endReturn(
  spool: Spool,
  { seq, state }: Subject,
  { now, forget }: Circumstances,
): Operated {
  if (!isWaiting(state)) return 'unfit';
  deleteRecipients(spool, seq, ['pending']);
  finish(spool, seq, now, forget);
  return 'done';
}

/** Whether it is held because some program gives it to Exim in this moment, and does not know how that ends. */
export function isBeingReturned(
  spool: Spool,
  { seq, state }: Pick<Subject, 'seq' | 'state'>,
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

function isFailedWithBody(spool: Spool, { seq, state }: Subject): boolean {
  return (state === 'failed' || state === 'bounced') && hasBody(spool, seq);
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
export function tooOld({ postedAt }: Pick<Subject, 'postedAt'>, now: number): boolean {
  return postedAt !== null && now - postedAt > limits.renewalMs;
}

const CANCELLED = 'an administrator of the sending host cancelled the delivery';
