import { buildMetric } from '../watch/build-metric.ts';
import { FigureBook } from '../watch/figure-book.ts';
import type { Metric, MetricValue } from '../watch/metric.ts';
import type { Deliverer } from './deliverer.ts';
import type { Keyring } from './policy/keyring.ts';

/** What every view of a proxy is made of. */
export interface ProxyView {
  figures: FigureBook;
  /** The names of the keys that are in force. */
  keys: readonly string[];
  /** The kind of the backend, and why the last delivery failed; undefined when one has passed since. */
  backend: { kind: string; trouble: string | undefined };
}

/** Reads the view of a proxy. Rejects when its ledger cannot be read and never was. */
export async function proxyView({
  deliverer,
  keys,
  backend: kind,
}: {
  deliverer: Deliverer;
  keys: Keyring;
  backend: string;
}): Promise<ProxyView> {
  return {
    figures: new FigureBook(await deliverer.figures.read()),
    keys: [...new Set(keys.keys.map(({ name }) => name))].toSorted(),
    backend: { kind, trouble: deliverer.trouble?.text },
  };
}

/** The metrics of a proxy. No address, id or subject is a label; the name of a key is that of a host. */
export function proxyMetrics(view: ProxyView): Metric[] {
  return [buildMetric(), ...workMetrics(view), ...keyMetrics(view)];
}

function workMetrics({ figures, keys, backend }: ProxyView): Metric[] {
  const labels = { backend: backend.kind };
  return [
    {
      name: 'proxy_requests',
      type: 'counter',
      help: 'Requests of HTTP that were answered, by status.',
      values: figures.values('requests', 'code', ['200']),
    },
    {
      name: 'proxy_backend_seconds',
      type: 'histogram',
      help: 'Time that the backend took for the recipients of one message.',
      distributions: [{ ...figures.distribution('backend'), labels }],
    },
    {
      name: 'proxy_backend_up',
      type: 'gauge',
      help: '1 unless the last delivery failed because backend or ledger cannot work.',
      values: [{ labels, value: Number(backend.trouble === undefined) }],
    },
    {
      name: 'proxy_unknown',
      type: 'gauge',
      help: 'Recipients that are listed as unknown: whether they were sent nobody can know.',
      values: [{ labels: {}, value: figures.get('unknown_listed') }],
    },
    {
      name: 'proxy_unknown',
      type: 'counter',
      help: 'Recipients that became unknown.',
      values: [{ labels: {}, value: figures.get('unknown') }],
    },
    {
      name: 'proxy_ledger_bytes',
      type: 'gauge',
      help: 'Size of the ledger, which remembers what was sent in the last 30 days.',
      values: [{ labels: {}, value: figures.get('ledger_bytes') }],
    },
    {
      name: 'proxy_keys',
      type: 'gauge',
      help: 'Names of keys that are in force.',
      values: [{ labels: {}, value: keys.length }],
    },
  ];
}

function keyMetrics({ figures, keys }: ProxyView): Metric[] {
  const each = (name: string): MetricValue[] =>
    keys.map((key) => ({ labels: { key }, value: figures.get(name, key) }));
  const times = (name: string): MetricValue[] =>
    each(name)
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => ({ labels, value: value / 1000 }));
  return [
    {
      name: 'proxy_posts',
      type: 'counter',
      help: 'Posts of messages, by the name of their key.',
      values: each('posts'),
    },
    {
      name: 'proxy_verdicts',
      type: 'counter',
      help: 'Verdicts on recipients, by their class and the name of the key.',
      values: keys.flatMap((key) =>
        VERDICTS.map((verdict) => ({
          labels: { key, class: verdict },
          value: figures.get('verdicts', `${verdict} ${key}`),
        })),
      ),
    },
    {
      name: 'proxy_repeats',
      type: 'counter',
      help: 'Recipients that were posted again after they had been sent.',
      values: each('repeats'),
    },
    {
      name: 'proxy_key_last_seen_timestamp_seconds',
      type: 'gauge',
      help: 'When a request was signed with this key last; absent when none ever was.',
      values: times('seen_ms'),
    },
    {
      name: 'proxy_key_queue_messages',
      type: 'gauge',
      help: 'Messages that wait at the host of the key, as it said last.',
      values: keys
        .filter((key) => figures.all('queue_length').has(key))
        .map((key) => ({ labels: { key }, value: figures.get('queue_length', key) })),
    },
    {
      name: 'proxy_key_oldest_queued_timestamp_seconds',
      type: 'gauge',
      help: 'When the oldest of these was queued, as the host said last; absent when none waits.',
      values: times('queue_oldest_ms'),
    },
  ];
}

const VERDICTS = ['sent', 'deferred', 'failed'] as const;
