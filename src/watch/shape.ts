import { decodeAddress } from '../mail/address.ts';
import { limits } from '../limits.ts';
import { LISTED, type Spool } from '../spool/spool.ts';

/** Upper bounds of the ages that are counted together, in minutes, as in Postfix's qshape(1). */
export const ageBounds = [5, 10, 20, 40, 80, 160, 320, 640, 1280] as const;

/** How many recipients wait, in all and by age; `ages` has one more than ageBounds, for those that are older. */
export interface ShapeRow {
  name: string;
  total: number;
  ages: number[];
}

/** The pending recipients of the queue by age, in all and by name, the most first. */
export interface Shape {
  total: ShapeRow;
  rows: ShapeRow[];
}

/** Whose name is counted: the domains of recipients, or of senders. */
export type ShapeBy = 'recipients' | 'senders';

/**
 * Counts the recipients that are pending in the queue, by age and domain. It reads the queue a page at a time, and so
 * disturbs nobody. Of very many domains, those that are met last are counted together as OTHERS. `wallNow` is in
 * milliseconds since 1970.
 */
export function queueShape(spool: Spool, by: ShapeBy, wallNow: number): Shape {
  const total = rowOf('TOTAL');
  const rows = new Map<string, ShapeRow>();
  for (const { queuedAt, address } of waiting(spool, by)) {
    const age = ageIndex(wallNow - queuedAt);
    add(total, age);
    const name = domainOf(address);
    let row = rows.get(name);
    if (!row) {
      const key = rows.size < limits.shapeNames ? name : OTHERS;
      row = rows.get(key) ?? rowOf(key);
      rows.set(key, row);
    }
    add(row, age);
  }
  return { total, rows: [...rows.values()].toSorted((one, two) => two.total - one.total) };
}

interface WaitingRow {
  seq: number;
  queuedAt: number;
  address: Buffer;
}

function* waiting(spool: Spool, by: ShapeBy): Generator<WaitingRow> {
  const address = by === 'senders' ? 'sender' : 'recipient.address';
  const last = spool.sql<{ seq: number | null }>(
    `SELECT max(seq) AS seq FROM (SELECT seq FROM message INDEXED BY message_listed
       WHERE state IN ${LISTED} AND seq > :after ORDER BY seq LIMIT ${limits.shapePage})`,
  );
  const page = spool.sql<WaitingRow>(
    `SELECT seq, queued_at AS queuedAt, ${address} AS address FROM message INDEXED BY message_listed
       JOIN recipient ON recipient.message = seq AND recipient.state = 'pending'
     WHERE message.state IN ${LISTED} AND seq > :after AND seq <= :last`,
  );
  for (let after = 0; ;) {
    const end = last.get({ after })?.seq;
    if (end === null || end === undefined) return;
    yield* page.all({ after, last: end });
    after = end;
  }
}

/** The domain of an address in octets, in lower case. */
function domainOf(address: Buffer): string {
  if (address.length === 0) return NULL_SENDER;
  const at = address.lastIndexOf(AT);
  return decodeAddress(address.subarray(at + 1)).toLowerCase();
}

function rowOf(name: string): ShapeRow {
  return { name, total: 0, ages: Array.from({ length: ageBounds.length + 1 }, () => 0) };
}

function add(row: ShapeRow, age: number): void {
  row.total += 1;
  row.ages[age] = (row.ages[age] ?? 0) + 1;
}

function ageIndex(ms: number): number {
  const index = ageBounds.findIndex((minutes) => ms < minutes * 60_000);
  return index < 0 ? ageBounds.length : index;
}

const AT = '@'.charCodeAt(0);
const NULL_SENDER = '<>';
const OTHERS = 'OTHERS';
