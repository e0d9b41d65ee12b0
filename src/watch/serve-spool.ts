import type { HostPort } from '../host/net/connect-socket.ts';
import type { Spool } from '../spool/spool.ts';
import { serveMetrics, type MetricsJournal } from './metrics-server.ts';
import { queuePage } from './queue-page.ts';
import { spoolMetrics } from './spool-metrics.ts';
import { spoolView } from './spool-view.ts';

/** Serves what drain knows of its queue, until `stop` aborts. */
export async function serveSpool(
  at: HostPort,
  spool: Spool,
  journal: MetricsJournal,
  stop: AbortSignal,
): Promise<void> {
  const metrics = () => spoolMetrics(spoolView(spool, { isDrain: true }));
  await serveMetrics(
    at,
    { metrics, page: () => queuePage(spool) },
    { journal, clock: spool.clock },
    stop,
  );
}
