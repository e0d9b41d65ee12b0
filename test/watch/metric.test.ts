import assert from 'node:assert/strict';
import test from 'node:test';
import { metricFormatFor, metricsText, type Metric } from '../../src/watch/metric.ts';
import { needs } from '../support/needs.ts';
import { assertGoodMetrics } from '../support/promtool.ts';

const metrics: Metric[] = [
  { name: 'messages', type: 'gauge', help: 'Now.', values: [{ labels: { state: 'a' }, value: 2 }] },
  { name: 'messages', type: 'counter', help: 'Ever.', values: [{ labels: {}, value: 7 }] },
  { name: 'build', type: 'info', help: 'Which.', values: [{ labels: { v: '1' }, value: 1 }] },
  {
    name: 'wait_seconds',
    type: 'histogram',
    help: 'How long.',
    distributions: [
      {
        labels: {},
        buckets: [
          { bound: 0.5, count: 2 },
          { bound: 1, count: 0 },
          { bound: Infinity, count: 1 },
        ],
        sum: 4.25,
      },
    ],
  },
  { name: 'nothing', type: 'gauge', help: 'Left out.', values: [] },
];

test('metrics in the text format of Prometheus: each bucket has those below it, and what is empty is left out', () => {
  assert.equal(
    metricsText(metrics, 'prometheus'),
    `# HELP appengine_mailer_messages Now.
# TYPE appengine_mailer_messages gauge
appengine_mailer_messages{state="a"} 2
# HELP appengine_mailer_messages_total Ever.
# TYPE appengine_mailer_messages_total counter
appengine_mailer_messages_total 7
# HELP appengine_mailer_build_info Which.
# TYPE appengine_mailer_build_info gauge
appengine_mailer_build_info{v="1"} 1
# HELP appengine_mailer_wait_seconds How long.
# TYPE appengine_mailer_wait_seconds histogram
appengine_mailer_wait_seconds_bucket{le="0.5"} 2
appengine_mailer_wait_seconds_bucket{le="1.0"} 2
appengine_mailer_wait_seconds_bucket{le="+Inf"} 3
appengine_mailer_wait_seconds_sum 4.25
appengine_mailer_wait_seconds_count 3
`,
  );
});

test('the same in OpenMetrics: families are named, none twice, and the end is marked', () => {
  const text = metricsText(metrics, 'openmetrics');
  assert.match(text, /^# TYPE appengine_mailer_build info$/m);
  assert.match(text, /^# TYPE appengine_mailer_messages_total unknown$/m);
  assert.match(text, /\n# EOF\n$/);
  const families = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  assert.equal(new Set(families).size, families.length);
});

test('a label may be any text', needs('prometheus'), async (t) => {
  const labels = { key: 'a "b" \\ c\nd {e="f"} \u00e9' };
  const value: Metric = { name: 'k', type: 'gauge', help: 'K.', values: [{ labels, value: 1 }] };
  const text = metricsText([value], 'prometheus');
  assert.match(text, /^appengine_mailer_k\{key="a \\"b\\" \\\\ c\\nd \{e=\\"f\\"\} é"\} 1$/m);
  await assertGoodMetrics(t, text);
});

test('a client gets OpenMetrics where its Accept header names it', () => {
  const ofPrometheus =
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5';
  assert.equal(metricFormatFor(ofPrometheus), 'openmetrics');
  assert.equal(metricFormatFor('text/html'), 'prometheus');
  assert.equal(metricFormatFor(undefined), 'prometheus');
});
