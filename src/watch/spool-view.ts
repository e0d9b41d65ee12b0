import { freeSpace, type FreeSpace } from '../host/free-space.ts';
import { endpointRecord, type EndpointRecord } from '../spool/endpoint.ts';
import { readFigures } from '../spool/figures.ts';
import { drainRuns } from '../spool/locks.ts';
import type { Spool } from '../spool/spool.ts';
import { oldestQueuedAt, waitingSince, type WaitingSince } from '../spool/stats.ts';
import { shownTime } from '../sqlite/shown-time.ts';
import { FigureBook } from './figure-book.ts';
import type { Distribution } from './metric.ts';
import { ageBounds } from './shape.ts';

/** What every view of a spool is made of. Times are for people: milliseconds since 1970. */
export interface SpoolView {
  figures: FigureBook;
  /** How long messages wait. */
  ages: Distribution;
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
  const wallNow = spool.clock.wallNow();
  const { wall } = shownTime(spool, wallNow);
  const read = spool.db.transaction(() => {
    const { downSince, reason, passedAt } = endpointRecord(spool);
    return {
      figures: new FigureBook(readFigures(spool)),
      ages: agesOf(waitingSince(spool), wallNow),
      oldestQueuedAt: oldestQueuedAt(spool),
      endpoint: { downSince: wall(downSince), reason, passedAt },
    };
  })();
  const { folder } = spool;
  return { ...read, space: freeSpace(folder), drainRuns: isDrain || drainRuns(folder) };
}

/** Ages in seconds, which are exact to half a minute. */
function agesOf(waiting: readonly WaitingSince[], wallNow: number): Distribution {
  const counts = AGE_BOUNDS.map((bound) => ({ bound, count: 0 }));
  let sum = 0;
  for (const { minute, messages } of waiting) {
    const seconds = Math.max(0, wallNow / 1000 - (minute + 0.5) * 60);
    const bucket = counts.find(({ bound }) => seconds <= bound);
    if (bucket) bucket.count += messages;
    sum += seconds * messages;
  }
  return { labels: {}, buckets: counts, sum };
}

/** Those of `queue shape`, twice the last of them, and no bound. */
const AGE_BOUNDS = [...ageBounds.map((minutes) => minutes * 60), 2 * 1280 * 60, Infinity];
