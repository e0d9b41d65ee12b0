import type { Database } from '../host/open-database.ts';
import { decodeAddress } from '../mail/address.ts';

/**
 * What is still to be sent and of which a table says otherwise than an index (copyIndexes), or less than it
 * should: either may be old or spoiled, so that it might be sent twice, or to others than its recipients.
 */
export function contradictions(db: Database): { seq: number; fault: string }[] {
  const rows = <Row>(sql: string) => db.prepare<[], Row>(sql).all();
  return [
    ...rows<Said<string>>(IDS).map(({ seq, table, index }) => ({
      seq,
      fault: `its id is ${table} or ${index}`,
    })),
    ...rows<Said<string>>(STATES).map(({ seq, table, index }) => ({
      seq,
      fault: `its state is ${table} or ${index}`,
    })),
    ...rows<Said<Buffer>>(ADDRESSES).map(({ seq, table, index }) => ({
      seq,
      fault: `its recipient is <${decodeAddress(table)}> or <${decodeAddress(index)}>`,
    })),
    ...rows<{ seq: number; lost: number }>(POSITIONS).map(({ seq, lost }) => ({
      seq,
      fault: `it has lost ${lost} of its recipients at least`,
    })),
  ];
}

/** What a table and an index say of a message. */
interface Said<Value> {
  seq: number;
  table: Value;
  index: Value;
}

const IDS = `
SELECT seq, message.id AS "table", by_id.id AS "index" FROM message JOIN by_id USING (seq)
WHERE finished_at IS NULL AND message.id <> by_id.id`;

const STATES = `
SELECT seq, message.state AS "table", by_state.state AS "index" FROM message JOIN by_state USING (seq)
WHERE message.state IN ('queued', 'sending') AND by_state.state NOT IN ('queued', 'sending')`;

const ADDRESSES = `
SELECT seq, recipient.address AS "table", by_address.address AS "index"
FROM recipient JOIN by_address ON by_address.message = recipient.message
  AND by_address.position = recipient.position AND by_address.address <> recipient.address
JOIN message ON seq = recipient.message AND finished_at IS NULL
WHERE recipient.state = 'pending'`;

/** Recipients are numbered from 0. */
const POSITIONS = `
SELECT seq, max(position) + 1 - count(*) AS lost FROM message JOIN recipient ON recipient.message = seq
WHERE finished_at IS NULL GROUP BY seq HAVING lost > 0`;
