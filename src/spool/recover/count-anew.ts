import type { Database } from '../../sqlite/open-database.ts';
import { messageStates } from '../spool.ts';
import { countRows, FORGOTTEN, readCounters, WAITING, type Amount } from './inspect-spool.ts';
import type { Repair } from './repair.ts';

/**
 * Sets law 8's counters of a repaired spool, and those of ages: what is not there and was not finished is damaged. Says how much of that
 * was lost now.
 */
export function countAnew(db: Database, repair: Repair): void {
  const old = readCounters(db, 'old_counter');
  if (!old) {
    repair.notes.push(
      'the counters were lost and count anew what is there: more messages may be lost than are named',
    );
  }
  const there = countRows(db);
  const lost = repair.damaged.length - repair.finishedPerhaps;
  const messages = tally('messages', { old, there, lost });
  const bytes = tally('bytes', { old, there, lost: 0 });
  const add = db.prepare(
    `INSERT INTO counter (name, messages, bytes, entered) VALUES (:name, :count, :bytes,
       max(:count, coalesce((SELECT max(entered) FROM old_counter WHERE name = :name), 0)))`,
  );
  for (const [name, count] of messages) add.run({ name, count, bytes: bytes.get(name) });
  db.exec(`DELETE FROM waiting; INSERT INTO waiting (minute, messages) ${WAITING}`);
  repair.lost = (messages.get('damaged') ?? 0) - amountOf(old, 'damaged', 'messages');
}

type Amounts = ReadonlyMap<string, Amount>;

/** The counters in one unit, from what is there and what was counted; `lost` is what is known to be lost now. */
function tally(
  unit: keyof Amount,
  { old, there, lost }: { old: Amounts | undefined; there: Amounts; lost: number },
): Map<string, number> {
  const counters = new Map<string, number>(
    messageStates.map((state) => {
      const counted = FORGOTTEN.has(state) ? amountOf(old, state, unit) : 0;
      return [state, Math.max(amountOf(there, state, unit), counted)];
    }),
  );
  const sum = [...counters.values()].reduce((total, count) => total + count, 0);
  const damaged = amountOf(old, 'damaged', unit) + lost;
  const accepted = Math.max(amountOf(old, 'accepted', unit), sum + damaged);
  return counters.set('damaged', accepted - sum).set('accepted', accepted);
}

function amountOf(amounts: Amounts | undefined, name: string, unit: keyof Amount): number {
  return amounts?.get(name)?.[unit] ?? 0;
}
