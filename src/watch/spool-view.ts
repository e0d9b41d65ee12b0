import { freeSpace, type FreeSpace } from '../host/free-space.ts';
import { endpointRecord, type EndpointRecord } from '../spool/endpoint.ts';
import { readFigures } from '../spool/figures.ts';
import { drainRuns } from '../spool/locks.ts';
import type { Spool } from '../spool/spool.ts';
import { oldestQueuedAt } from '../spool/stats.ts';
import { shownTime } from '../sqlite/shown-time.ts';
import { FigureBook } from './figure-book.ts';

/** What every view of a spool is made of. Times are for people: milliseconds since 1970. */
export interface SpoolView {
  figures: FigureBook;
  /** When the oldest message that waits or is being sent was queued; null when none is. */
  oldestQueuedAt: number | null;
  endpoint: Pick<EndpointRecord, 'downSince' | 'reason' | 'passedAt'>;
  space: FreeSpace;
  drainRuns: boolean;
}

/**
 * Reads the view of a spool, in one short transaction. The cost does not depend on how much is queued. `isDrain`: the
 * program that reads is the spool's drain.
 */
export function spoolView(spool: Spool, { isDrain = false } = {}): SpoolView {
  const { wall } = shownTime(spool, spool.clock.wallNow());
  const read = spool.db.transaction(() => {
    const { downSince, reason, passedAt } = endpointRecord(spool);
    return {
      figures: new FigureBook(readFigures(spool)),
      oldestQueuedAt: oldestQueuedAt(spool),
      endpoint: { downSince: wall(downSince), reason, passedAt },
    };
  })();
  const { folder } = spool;
  return { ...read, space: freeSpace(folder), drainRuns: isDrain || drainRuns(folder) };
}
