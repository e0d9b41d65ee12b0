import { createHash } from 'node:crypto';
import type { Database } from '../../sqlite/open-database.ts';
import { noProgress } from '../../host/progress.ts';
import { faultsOf, unlessDamaged } from '../../sqlite/is-corruption.ts';
import { clockFaults } from '../../sqlite/observed-time.ts';
import { sqliteFaults } from '../../sqlite/sqlite-faults.ts';
import { messageStates } from '../spool.ts';

/**
 * Says what is wrong with the content of a spool, in a sentence each: SQLite's own checks, law 8's sum, and
 * whether each message has its recipients and its bytes.
 */
export function inspectSpool(db: Database, progress = noProgress): string[] {
  return [
    ...faultsOf(() => sqliteFaults(db)),
    ...faultsOf(() => clockFaults(db)),
    ...faultsOf(() => counterFaults(db)),
    ...faultsOf(() => waitingFaults(db)),
    ...faultsOf(() =>
      messageFaults(db, progress).map(({ id, fault }) => `message ${id}: ${fault}`),
    ),
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
export function messageFaults(db: Database, progress = noProgress): MessageFault[] {
  const recipients = db.prepare<[number, string], number>(
    'SELECT count(*) FROM recipient WHERE message = ? AND state = ?',
  );
  const parts = db.prepare<[number], [number, Buffer]>(
    "SELECT part, coalesce(CAST(bytes AS BLOB), x'') FROM body WHERE message = ? ORDER BY part",
  );
  const faults: MessageFault[] = [];
  progress.begin(unlessDamaged(() => db.prepare<[], number>(COUNTED).pluck().get()));
  for (const message of db.prepare<[], Needed>(NEEDED).iterate()) {
    const { seq, id, state } = message;
    progress.add(1);
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

const STATES = "('queued', 'sending', 'held', 'failed', 'bounced')";
const NEEDED = `SELECT seq, id, state, size, coalesce(CAST(digest AS BLOB), x'') AS digest FROM message
  WHERE state IN ${STATES} ORDER BY seq`;
const COUNTED = `SELECT sum(messages) FROM counter WHERE name IN ${STATES}`;

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

/** Law 8: a row for each message that is not finished, and no more messages, or bytes, than were accepted. */
function counterFaults(db: Database): string[] {
  const counters = readCounters(db);
  const rows = countRows(db);
  if (!counters) return ['the counters of law 8 do not add up'];
  return UNITS.flatMap((unit) =>
    messageStates.flatMap((state) => {
      const counted = counters.get(state)?.[unit] ?? 0;
      const there = rows.get(state)?.[unit] ?? 0;
      const isWrong = FORGOTTEN.has(state) ? counted < there : counted !== there;
      return isWrong ? [`${counted} ${unit} are counted as ${state} and ${there} are there`] : [];
    }),
  );
}

/** The table `waiting` counts what is there. */
function waitingFaults(db: Database): string[] {
  const counted = 'SELECT minute, messages FROM waiting';
  const differ = db.prepare(
    `SELECT 1 FROM (SELECT * FROM (${counted} EXCEPT ${WAITING}) UNION ALL SELECT * FROM (${WAITING} EXCEPT ${counted}))`,
  );
  return differ.get() === undefined ? [] : ['the ages of what waits are not counted as they are'];
}

/** What the table `waiting` should have. */
export const WAITING = `SELECT queued_at / 60000, count(*) FROM message
  WHERE state IN ('queued', 'sending') GROUP BY 1`;

/** Messages and their bytes. */
export type Amount = Record<(typeof UNITS)[number], number>;
const UNITS = ['messages', 'bytes'] as const;

/** Law 8's counters, or what is left of them in another table; undefined when some are missing or they do not add up. */
export function readCounters(db: Database, table = 'counter'): Map<string, Amount> | undefined {
  const counters = amounts(db, `SELECT name, messages, bytes FROM ${table}`);
  const isWhole = ['accepted', ...messageStates].every((name) => counters.has(name));
  const addsUp = UNITS.every((unit) => {
    const parts = [...messageStates, 'damaged'].map((name) => counters.get(name)?.[unit] ?? 0);
    const sum = parts.reduce((total, part) => total + part, 0);
    return sum === counters.get('accepted')?.[unit];
  });
  return isWhole && addsUp ? counters : undefined;
}

/** How many messages are there, and how many bytes, by state. */
export function countRows(db: Database): Map<string, Amount> {
  return amounts(db, 'SELECT state, count(*), sum(size) FROM message GROUP BY state');
}

function amounts(db: Database, sql: string): Map<string, Amount> {
  const rows = db.prepare<[], [string, number, number]>(sql).raw().all();
  return new Map(rows.map(([name, messages, bytes]) => [name, { messages, bytes }]));
}

/** States whose messages are forgotten after limits.historyMs, while their counters stay. */
export const FORGOTTEN: ReadonlySet<string> = new Set(['sent', 'bounced', 'deleted']);
