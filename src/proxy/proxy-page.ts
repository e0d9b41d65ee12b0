import { hostname } from 'node:os';
import { showDuration } from '../host/duration.ts';
import type { Html } from '../watch/html.ts';
import { table } from '../watch/html.ts';
import { labelTable, statusPage, type Fact } from '../watch/page.ts';
import type { Flow } from '../watch/flow.ts';
import { limits } from '../limits.ts';
import type { RingName, Sample } from '../sqlite/samples.ts';
import type { ProxyView } from './proxy-metrics.ts';

/** The page of a proxy. `now` is in observed time, `wallNow` in milliseconds since 1970. */
export function proxyPage(
  view: ProxyView,
  samples: Record<RingName, readonly Sample[]>,
  { now, wallNow }: { now: number; wallNow: number },
): { text: string; policy: string } {
  return statusPage({
    title: `Mail proxy of ${hostname()}`,
    facts: factsOf(view),
    figures: view.figures,
    samples,
    now,
    wallNow,
    flows: [
      { title: 'requests answered', figure: 'requests', label: '200' },
      { title: 'calls of the backend', figure: 'calls', label: '' },
    ],
    counted: [{ title: 'recipients that became unknown', figure: 'unknown', label: '' }],
    times: { title: 'time of the backend', figure: 'backend' },
    tables: [
      (flow) => hostTable(view, flow, wallNow),
      labelTable('Answers by HTTP status', 'requests', view.figures),
    ],
  });
}

function factsOf({ figures, keys, backend }: ProxyView): Fact[] {
  const unknown = figures.get('unknown_listed');
  const { kind, trouble } = backend;
  return [
    { name: 'hosts', text: String(keys.length) },
    trouble === undefined
      ? { name: `backend ${kind} and ledger`, text: 'work', is: 'good' }
      : { name: `backend ${kind} and ledger`, text: trouble, is: 'bad' },
    {
      name: 'unknown recipients',
      text: String(unknown),
      ...(unknown > 0 && { is: 'bad' as const }),
    },
  ];
}

/** Each key with what its host did and has, those that were not seen for long first. */
function hostTable(
  { figures, keys }: ProxyView,
  { day }: Record<RingName, Flow>,
  wallNow: number,
): Html {
  const ago = (ms: number) => showDuration(wallNow - ms);
  const rows = keys
    .map((key) => ({ key, seenAt: figures.get('seen_ms', key) }))
    .toSorted((one, two) => one.seenAt - two.seenAt)
    .slice(0, limits.pageHosts)
    .map(({ key, seenAt }) => {
      const oldestAt = figures.get('queue_oldest_ms', key);
      const isTold = figures.all('queue_length').has(key);
      return [
        key === '' ? 'keys without a name' : key,
        seenAt === 0 ? 'never' : `${ago(seenAt)} ago`,
        isTold ? figures.get('queue_length', key) : '–',
        oldestAt === 0 ? '–' : ago(oldestAt),
        day.total('posts', key),
        ...['sent', 'deferred', 'failed'].map((verdict) =>
          day.total('verdicts', `${verdict} ${key}`),
        ),
      ];
    });
  const heads = ['host', 'last seen', 'queue', 'oldest', 'posts', 'sent', 'deferred', 'failed'];
  return table('Hosts by the names of their keys; posts and verdicts of the last day', heads, rows);
}
