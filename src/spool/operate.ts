import { limits } from '../mail/limits.ts';
import { hasBody } from './body.ts';
import { outageMs } from './endpoint.ts';
import { finish } from './record.ts';
import type { MessageState, Spool } from './spool.ts';

/** What an operator may do to a message. */
export type Verb = 'retry' | 'hold' | 'release' | 'delete';

/** What came of it. `busy`: it is being sent; `old`: it wants --force; `unfit`: not in this state. */
export type Operated = 'done' | 'busy' | 'old' | 'unfit' | 'missing';

interface Subject {
  seq: number;
  state: MessageState;
  postedAt: number | null;
}

/**
 * Applies the verb to one message, in one transaction. What is being sent is left alone (`busy`):
 * drain alone decides about it.
 */
export function operate(
  spool: Spool,
  verb: Verb,
  id: string,
  now: number,
  force = false,
): Operated {
  return spool.transaction(() => {
    const subject = spool
      .sql<Subject>('SELECT seq, state, posted_at AS postedAt FROM message WHERE id = ?')
      .get(id);
    if (!subject) return 'missing';
    if (subject.state === 'sending') return 'busy';
    return verbs[verb](spool, subject, now, force);
  });
}

const verbs: Record<Verb, typeof retry> = { retry, hold, release, delete: remove };

/** Due now, with a new lifetime; what failed is pending again while its body is there. */
function retry(spool: Spool, subject: Subject, now: number, force: boolean): Operated {
  const { seq, state } = subject;
  if (state !== 'queued' && !(state === 'failed' && hasBody(spool, seq))) return 'unfit';
  if (!force && tooOld(subject, now)) return 'old';
  spool
    .sql(
      `UPDATE recipient SET state = 'pending', status = NULL, reason = NULL
       WHERE message = ? AND state = 'failed'`,
    )
    .run(seq);
  queue(spool, seq, now);
  return 'done';
}

function hold(spool: Spool, { seq, state }: Subject): Operated {
  if (state !== 'queued') return 'unfit';
  spool.sql(`UPDATE message SET state = 'held', due_at = NULL WHERE seq = ?`).run(seq);
  return 'done';
}

/** Due now, with a new lifetime: time held does not count. */
function release(spool: Spool, subject: Subject, now: number, force: boolean): Operated {
  if (subject.state !== 'held') return 'unfit';
  if (!force && tooOld(subject, now)) return 'old';
  queue(spool, subject.seq, now);
  return 'done';
}

function remove(spool: Spool, { seq, state }: Subject, now: number): Operated {
  if (state !== 'queued' && state !== 'held' && state !== 'failed') return 'unfit';
  spool
    .sql(
      `UPDATE recipient SET state = 'deleted' WHERE message = ? AND state IN ('pending', 'failed')`,
    )
    .run(seq);
  finish(spool, seq, now);
  return 'done';
}

function queue(spool: Spool, seq: number, now: number): void {
  spool
    .sql(
      `UPDATE message SET state = 'queued', due_at = :now, finished_at = NULL, deferrals = 0, warned = 0,
         renewed_at = :now, outage_ms = :outageMs WHERE seq = :seq`,
    )
    .run({ seq, now, outageMs: outageMs(spool, now) });
}

/** The proxy forgets what it sent after 30 days: a post later than that could send it twice. */
function tooOld({ postedAt }: Subject, now: number): boolean {
  return postedAt !== null && now - postedAt > limits.renewalMs;
}
