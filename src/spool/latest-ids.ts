import { limits } from '../limits.ts';
import type { Spool } from './spool.ts';

/** The ids of the latest messages, in any state, that begin with these hexadecimal digits; however many there are, it costs the same. */
export function latestIds(spool: Spool, prefix: string): string[] {
  return spool
    .sql<{ id: string }>(
      `SELECT id FROM message WHERE id >= :prefix AND id < :prefix || 'g'
       ORDER BY id DESC LIMIT ${limits.completedIds}`,
    )
    .all({ prefix })
    .map(({ id }) => id);
}
