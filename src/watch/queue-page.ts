import { hostname } from 'node:os';
import { showDuration } from '../host/duration.ts';
import { showBytes } from '../host/show-bytes.ts';
import { limits } from '../limits.ts';
import { readSamples } from '../spool/samples.ts';
import type { Spool } from '../spool/spool.ts';
import { shownTime } from '../sqlite/shown-time.ts';
import { FigureBook } from './figure-book.ts';
import { labelTable, statusPage, type Fact } from './page.ts';
import { etaOf, ratePoint, ratesOf } from './rates.ts';
import { spoolView, type SpoolView } from './spool-view.ts';

/** The page of a host's queue, as its drain serves it. */
export function queuePage(spool: Spool): { text: string; policy: string } {
  const wallNow = spool.clock.wallNow();
  const { now } = shownTime(spool, wallNow);
  const view = spoolView(spool, { isDrain: true });
  const { figures } = view;
  const samples = {
    hour: readSamples(spool, 'hour'),
    day: readSamples(spool, 'day'),
    week: readSamples(spool, 'week'),
  };
  const points = [
    ...samples.hour.map(({ at, figures: then }) => ratePoint(at, new FigureBook(then))),
    ratePoint(now, figures),
  ];
  return statusPage({
    title: `Mail queue of ${hostname()}`,
    facts: [...factsOf(view, wallNow), etaFact(view, points)],
    figures,
    samples,
    now,
    wallNow,
    flows: [
      { title: 'accepted', figure: 'entered', label: 'accepted' },
      { title: 'sent', figure: 'entered', label: 'sent' },
    ],
    counted: [
      { title: 'recipients deferred', figure: 'recipients', label: 'deferred' },
      { title: 'recipients failed', figure: 'recipients', label: 'failed' },
    ],
    times: { title: 'time to delivery', figure: 'delivered' },
    tables: [
      labelTable('Deferrals by status', 'deferrals', figures),
      labelTable('Failures by status', 'failures', figures),
      labelTable('Attempts by what they came to', 'attempts', figures),
    ],
  });
}

function factsOf({ figures, oldestQueuedAt, endpoint, space }: SpoolView, wallNow: number): Fact[] {
  const count = (state: string) => figures.get('messages', state);
  const oldestMs = oldestQueuedAt === null ? 0 : wallNow - oldestQueuedAt;
  const isLow = space.bytes < 2 * space.leastBytes;
  return [
    { name: 'queued', text: String(count('queued')) },
    { name: 'being sent', text: String(count('sending')) },
    { name: 'held', text: String(count('held')) },
    { name: 'failed', text: String(count('failed')), ...bad(count('failed') > 0) },
    {
      name: 'oldest that waits',
      text: oldestQueuedAt === null ? 'none' : showDuration(oldestMs),
      ...bad(oldestMs > limits.oldMailMs),
    },
    endpoint.downSince === null
      ? { name: 'proxy', text: 'up', is: 'good' }
      : {
          name: 'proxy',
          text: `down for ${showDuration(wallNow - endpoint.downSince)}: ${endpoint.reason ?? ''}`,
          is: 'bad',
        },
    {
      name: 'last post that passed',
      text:
        endpoint.passedAt === null ? 'never' : `${showDuration(wallNow - endpoint.passedAt)} ago`,
    },
    { name: 'free space', text: showBytes(space.bytes), ...bad(isLow) },
  ];
}

function etaFact({ endpoint }: SpoolView, points: readonly ReturnType<typeof ratePoint>[]): Fact {
  const name = 'empty';
  const waiting = points.at(-1)?.waiting ?? 0;
  if (waiting > 0 && endpoint.downSince !== null) return { name, text: 'waits for the proxy' };
  const eta = etaOf(waiting, ratesOf(points, limits.etaRateMs));
  if (eta.kind === 'empty') return { name, text: 'now' };
  return {
    name,
    text: eta.kind === 'in' ? `in about ${showDuration(eta.ms)}` : 'not as it goes now',
  };
}

function bad(is: boolean): Pick<Fact, 'is'> {
  return is ? { is: 'bad' } : {};
}
