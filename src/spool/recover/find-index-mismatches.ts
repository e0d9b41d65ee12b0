import type { Gap } from '../../sqlite/recover/copy-rows.ts';
import type { Database } from '../../sqlite/open-database.ts';
import { LISTED } from '../spool.ts';
import { decodeAddress } from '../../mail/address.ts';

/**
 * What is still to be sent or reported and of which a table says otherwise than an index (copyIndexes), or less than it
 * should: either may be old or spoiled, so that it might be sent twice, or to others than its recipients. Where both
 * the table and the index of recipients have lost rows, one may be lost without a trace: these are their gaps.
 */
export function findIndexMismatches(
  db: Database,
  ofRecipients: readonly (readonly Gap[])[],
): { seq: number; fault: string }[] {
  const rows = <Row>(sql: string) => db.prepare<[], Row>(sql).all();
  return [
    ...rows<Mismatch<string>>(IDS).map(({ seq, table, index }) => ({
      seq,
      fault: `its id is ${table} or ${index}`,
    })),
    ...rows<Mismatch<string>>(STATES).map(({ seq, table, index }) => ({
      seq,
      fault: `its state is ${table} or ${index}`,
    })),
    ...rows<Mismatch<Buffer>>(ADDRESSES).map(({ seq, table, index }) => ({
      seq,
      fault: `its recipient is <${decodeAddress(table)}> or <${decodeAddress(index)}>`,
    })),
    ...rows<{ seq: number; lost: number }>(POSITIONS).map(({ seq, lost }) => ({
      seq,
      fault: `it has lost ${lost} of its recipients at least`,
    })),
    ...(ofRecipients.every(({ length }) => length > 0)
      ? rows<{ seq: number }>(WITH_RECIPIENTS)
      : []
    )
      .filter(({ seq }) => ofRecipients.every((gaps) => isAmong(gaps, seq)))
      .map(({ seq }) => ({ seq, fault: 'it may have lost some of its recipients' })),
  ];
}

/** Whether rows of this message may be among what is lost. */
function isAmong(gaps: readonly Gap[], seq: number): boolean {
  return gaps.some(({ before, after }) => {
    const [low, high] = [Number(before?.[0] ?? 0), Number(after?.[0] ?? Infinity)];
    return low > high || (low <= seq && seq <= high); // Rows of pages that were swapped are in no order.
  });
}

/** What a table and an index say of a message. */
interface Mismatch<Value> {
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

const NEEDED = `message.state IN ${LISTED}`;

/** Recipients are numbered from 0. */
const POSITIONS = `
SELECT seq, max(position) + 1 - count(*) AS lost FROM message JOIN recipient ON recipient.message = seq
WHERE ${NEEDED} GROUP BY seq HAVING lost > 0`;

const WITH_RECIPIENTS = `
SELECT seq FROM message WHERE ${NEEDED} AND seq IN (SELECT message FROM recipient)`;
