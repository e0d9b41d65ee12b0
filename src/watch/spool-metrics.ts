import { buildMetric } from './build-metric.ts';
import type { Metric, MetricValue } from './metric.ts';
import type { SpoolView } from './spool-view.ts';

/** The metrics of a spool. No address, id or subject is a label. */
export function spoolMetrics(view: SpoolView): Metric[] {
  return [
    buildMetric(),
    ...messageMetrics(view),
    ...recipientMetrics(view),
    ...endpointMetrics(view),
    ...hostMetrics(view),
  ];
}

function messageMetrics({ figures, ages, oldestQueuedAt }: SpoolView): Metric[] {
  return [
    {
      name: 'messages',
      type: 'gauge',
      help: 'Messages in the queue, by state.',
      values: IN_QUEUE.map((state) => ({
        labels: { state },
        value: figures.get('messages', state),
      })),
    },
    {
      name: 'messages_bytes',
      type: 'gauge',
      help: 'Size of the messages in the queue, by state.',
      values: IN_QUEUE.map((state) => ({ labels: { state }, value: figures.get('bytes', state) })),
    },
    {
      name: 'messages',
      type: 'counter',
      help: 'Messages that were accepted, or came into this state.',
      values: EVENTS.map((event) => ({ labels: { event }, value: figures.get('entered', event) })),
    },
    {
      name: 'queue_age_seconds',
      type: 'gaugehistogram',
      help: 'How long the messages that wait or are being sent have been in the queue.',
      distributions: [ages],
    },
    {
      name: 'oldest_queued_timestamp_seconds',
      type: 'gauge',
      help: 'When the oldest message that waits was accepted; absent when none waits.',
      values: timestamp(oldestQueuedAt),
    },
  ];
}

function recipientMetrics({ figures }: SpoolView): Metric[] {
  return [
    {
      name: 'posts',
      type: 'counter',
      help: 'Attempts to send a message, by what they came to.',
      values: figures.values('attempts', 'outcome', ['passed', 'refused', 'slower', 'trouble']),
    },
    {
      name: 'recipients',
      type: 'counter',
      help: 'Recipients, each time something was decided about one.',
      values: figures.values('recipients', 'outcome', ['sent', 'deferred', 'failed']),
    },
    {
      name: 'recipient_deferrals',
      type: 'counter',
      help: 'Recipients that were deferred, by enhanced status.',
      values: figures.values('deferrals', 'status'),
    },
    {
      name: 'recipient_failures',
      type: 'counter',
      help: 'Recipients that failed, by enhanced status.',
      values: figures.values('failures', 'status'),
    },
    {
      name: 'delivery_seconds',
      type: 'histogram',
      help: 'Time from the acceptance of a message until a recipient was sent.',
      distributions: [figures.distribution('delivered')],
    },
    {
      name: 'notices',
      type: 'counter',
      help: 'Reports that senders were given.',
      values: figures.values('reports', 'kind', ['failure', 'delay', 'summary']),
    },
  ];
}

function endpointMetrics({ figures, endpoint }: SpoolView): Metric[] {
  const expiries = [...figures.all('certificate_expires')];
  return [
    {
      name: 'endpoint_up',
      type: 'gauge',
      help: '1 while the proxy takes posts, as far as is known.',
      values: [plain(endpoint.downSince === null)],
    },
    {
      name: 'endpoint_failures',
      type: 'counter',
      help: 'Posts and probes that showed the proxy down.',
      values: [{ labels: {}, value: figures.get('endpoint_failures') }],
    },
    {
      name: 'last_passed_timestamp_seconds',
      type: 'gauge',
      help: 'When a post passed last; absent when none ever did.',
      values: timestamp(endpoint.passedAt),
    },
    {
      name: 'certificate_expiry_timestamp_seconds',
      type: 'gauge',
      help: 'When the certificate of the proxy expires, as it was last seen.',
      values: expiries.map(([host, ms]) => ({ labels: { host }, value: ms / 1000 })),
    },
  ];
}

function hostMetrics({ space, drainRuns }: SpoolView): Metric[] {
  return [
    {
      name: 'drain_up',
      type: 'gauge',
      help: '1 while drain runs.',
      values: [plain(drainRuns)],
    },
    {
      name: 'spool_free_bytes',
      type: 'gauge',
      help: 'Free space where the spool is.',
      values: [plain(space.bytes)],
    },
    {
      name: 'spool_reserved_bytes',
      type: 'gauge',
      help: 'Space that is kept free there: mail is refused below.',
      values: [plain(space.leastBytes)],
    },
    {
      name: 'spool_free_inodes',
      type: 'gauge',
      help: 'Free inodes where the spool is; absent where a file system does not count them.',
      values: space.inodes === null ? [] : [plain(space.inodes)],
    },
  ];
}

/** A value without labels. */
function plain(value: number | boolean): MetricValue {
  return { labels: {}, value: Number(value) };
}

function timestamp(ms: number | null): MetricValue[] {
  return ms === null ? [] : [plain(ms / 1000)];
}

const IN_QUEUE = ['queued', 'sending', 'held', 'failed'] as const;
const EVENTS = ['accepted', 'sent', 'failed', 'bounced', 'deleted', 'damaged'] as const;
