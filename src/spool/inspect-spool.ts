import { createHash } from 'node:crypto';
import type { Database } from '../host/open-database.ts';
import { faultsOf } from '../host/is-damage.ts';
import { clockFaults } from '../host/observed-time.ts';
import { sqliteFaults } from '../host/sqlite-faults.ts';
import { messageStates } from './spool.ts';

/**
 * Says what is wrong with the content of a spool, in a sentence each: SQLite's own checks, law 8's sum, and
 * whether each message has its recipients and its bytes.
 */
export function inspectSpool(db: Database): string[] {
  return [
    ...faultsOf(() => sqliteFaults(db)),
    ...faultsOf(() => clockFaults(db)),
    ...faultsOf(() => counterFaults(db)),
    ...faultsOf(() => messageFaults(db).map(({ id, fault }) => `message ${id}: ${fault}`)),
  ];
}

/** A message that is not whole. */
export interface MessageFault {
  seq: number;
  id: string;
  what: 'recipients' | 'body';
  fault: string;
}

/** The messages that are still needed and lack recipients or bytes. */
export function messageFaults(db: Database): MessageFault[] {
  const recipients = db.prepare<[number, string], number>(
    'SELECT count(*) FROM recipient WHERE message = ? AND state = ?',
  );
  const parts = db.prepare<[number], [number, Buffer]>(
    "SELECT part, coalesce(CAST(bytes AS BLOB), x'') FROM body WHERE message = ? ORDER BY part",
  );
  const faults: MessageFault[] = [];
  for (const message of db.prepare<[], Needed>(NEEDED).iterate()) {
    const { seq, id, state } = message;
    const concerned = state === 'failed' ? 'failed' : 'pending';
    if (state !== 'bounced' && recipients.pluck().get(seq, concerned) === 0) {
      faults.push({ seq, id, what: 'recipients', fault: 'its recipients are lost' });
    }
    const [fault] = faultsOf(() => bodyFaults(parts.raw().iterate(seq), message));
    if (fault !== undefined) faults.push({ seq, id, what: 'body', fault });
  }
  return faults;
}

interface Needed {
  seq: number;
  id: string;
  state: string;
  size: number;
  digest: Buffer;
}

const NEEDED = `SELECT seq, id, state, size, coalesce(CAST(digest AS BLOB), x'') AS digest FROM message
  WHERE state IN ('queued', 'sending', 'held', 'failed', 'bounced') ORDER BY seq`;

/** What is wrong with the bytes of a message; what has failed may have none any more. Zeros on a page read as NULL. */
function bodyFaults(parts: Iterable<[number, Buffer]>, { state, size, digest }: Needed): string[] {
  const hash = createHash('sha256');
  let [read, next] = [0, 0];
  for (const [part, bytes] of parts) {
    if (part !== next) return [`part ${next} of its bytes is lost`];
    hash.update(bytes);
    read += bytes.length;
    next += 1;
  }
  if (next === 0) {
    return state === 'failed' || state === 'bounced' ? [] : ['its bytes are lost'];
  }
  if (read !== size) return [`${read} of its ${size} bytes are there`];
  return hash.digest().equals(digest) ? [] : ['its bytes are not those that Exim wrote'];
}

/** Law 8: a row for each message that is not finished, and no more messages than were accepted. */
function counterFaults(db: Database): string[] {
  const counters = readCounters(db);
  const rows = countRows(db);
  if (!counters) return ['the counters of law 8 do not add up'];
  return messageStates.flatMap((state) => {
    const [counted = 0, there = 0] = [counters.get(state), rows.get(state)];
    const isWrong = FORGOTTEN.has(state) ? counted < there : counted !== there;
    return isWrong ? [`${counted} messages are counted as ${state} and ${there} are there`] : [];
  });
}

/** Law 8's counters; undefined when some are missing or they do not add up. */
export function readCounters(db: Database): Map<string, number> | undefined {
  return soundCounters(
    db.prepare<[], [string, number]>('SELECT name, messages FROM counter').raw().all(),
  );
}

/** Such pairs as a map, if law 8 holds of them. */
export function soundCounters(
  pairs: readonly (readonly [string, number])[],
): Map<string, number> | undefined {
  const counters = new Map(pairs);
  const parts = [...messageStates, 'damaged'].map((name) => counters.get(name) ?? 0);
  const isWhole = ['accepted', ...messageStates].every((name) => counters.has(name));
  const sum = parts.reduce((total, messages) => total + messages, 0);
  return isWhole && sum === counters.get('accepted') ? counters : undefined;
}

/** How many messages are there, by state. */
export function countRows(db: Database): Map<string, number> {
  return new Map(
    db
      .prepare<[], [string, number]>('SELECT state, count(*) FROM message GROUP BY state')
      .raw()
      .all(),
  );
}

/** States whose messages are forgotten after limits.historyMs, while their counters stay. */
export const FORGOTTEN: ReadonlySet<string> = new Set(['sent', 'bounced', 'deleted']);
