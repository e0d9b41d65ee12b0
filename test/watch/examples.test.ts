import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { proxyMetrics } from '../../src/proxy/proxy-metrics.ts';
import { FigureBook } from '../../src/watch/figure-book.ts';
import { seriesName } from '../../src/watch/metric.ts';
import { spoolMetrics } from '../../src/watch/spool-metrics.ts';
import { spoolView } from '../../src/watch/spool-view.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

const RULES = inCheckout('debian/examples/alerts.yml');
const rules = readFileSync(RULES, 'utf8');
const dashboard = readFileSync(inCheckout('debian/examples/grafana.json'), 'utf8');

/** The names of all series that there are. */
function series(t: TestContext): Set<string> {
  const backend = { kind: 'file', trouble: undefined };
  const proxy = proxyMetrics({ figures: new FigureBook([]), keys: [], backend });
  const names = [...spoolMetrics(spoolView(freshSpool(t))), ...proxy].flatMap((metric) => {
    const name = seriesName(metric);
    return 'distributions' in metric ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
  });
  return new Set(names);
}

/** The expressions of the dashboard. */
function expressions(): string[] {
  const { panels } = JSON.parse(dashboard) as { panels: { targets: { expr: string }[] }[] };
  return panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
}

test('alert rules and dashboard name only metrics that exist', (t) => {
  const known = series(t);
  for (const text of [rules, dashboard]) {
    const named = new Set(text.match(/appengine_mailer_\w+/g));
    assert.ok(named.size >= 8);
    assert.deepEqual(
      [...named].filter((name) => !known.has(name)),
      [],
    );
  }
});

async function promtool(t: TestContext, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await run(t, '/usr/bin/promtool', args);
  assert.equal(code, 0, `${stdout.toString()}${stderr}`);
}

test(
  'promtool takes the alert rules, and each expression of the dashboard',
  needs('prometheus'),
  async (t) => {
    await promtool(t, 'check', 'rules', RULES);
    const file = join(scratch(t), 'expressions.yml');
    const recorded = expressions().map((expr, at) => ({ record: `panel:${at}`, expr }));
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules: recorded }] }));
    await promtool(t, 'check', 'rules', file);
  },
);

/** For each alert, the series that raise it at an age of two days, and what it is said about. */
const RAISED: Record<string, { series: Record<string, string>; labels: Record<string, string> }> = {
  MailWaits: { series: { oldest_queued_timestamp_seconds: '0+0x9' }, labels: {} },
  MailProxyDown: { series: { endpoint_up: '0x9' }, labels: {} },
  MailDrainDown: { series: { drain_up: '0x9' }, labels: {} },
  MailFails: {
    series: { 'recipients_total{outcome="failed"}': '0x8 100' },
    labels: { outcome: 'failed' },
  },
  MailSpoolSpace: {
    series: { spool_free_bytes: '150x9', spool_reserved_bytes: '100x9' },
    labels: {},
  },
  MailSpoolInodes: { series: { spool_free_inodes: '9x9' }, labels: {} },
  MailCertificate: {
    series: { 'certificate_expiry_timestamp_seconds{host="h"}': '900000x9' },
    labels: { host: 'h' },
  },
  MailUnknown: { series: { proxy_unknown: '2x9' }, labels: {} },
  MailBackendDown: {
    series: { 'proxy_backend_up{backend="smtp"}': '0x9' },
    labels: { backend: 'smtp' },
  },
  MailHostMissing: {
    series: { 'proxy_key_last_seen_timestamp_seconds{key="web1"}': '0x9' },
    labels: { key: 'web1' },
  },
  MailWaitsAtHost: {
    series: { 'proxy_key_oldest_queued_timestamp_seconds{key="web1"}': '0x9' },
    labels: { key: 'web1' },
  },
};

test(
  'each alert is raised by what it is about, and by nothing else',
  needs('prometheus'),
  async (t) => {
    const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);
    assert.deepEqual(alerts.toSorted(), Object.keys(RAISED).toSorted());
    const file = join(scratch(t), 'test.yml');
    const tests = Object.entries(RAISED).map(([raised, { series: given, labels }]) => ({
      interval: '1h',
      input_series: Object.entries(given).map(([name, values]) => ({
        series: `appengine_mailer_${name}`,
        values,
      })),
      alert_rule_test: alerts.map((alertname) => ({
        eval_time: '9h',
        alertname,
        exp_alerts:
          alertname === raised
            ? [{ exp_labels: { severity: severityOf(alertname), ...labels } }]
            : [],
      })),
    }));
    // Only the labels are compared: the texts are for people.
    const bare = rules.replaceAll(/^ {8}annotations:\n(?: {10}.*\n)+/gm, '');
    const rulesFile = join(scratch(t), 'rules.yml');
    writeFileSync(rulesFile, bare);
    writeFileSync(
      file,
      JSON.stringify({ rule_files: [rulesFile], evaluation_interval: '1h', tests }),
    );
    await promtool(t, 'test', 'rules', file);
  },
);

function severityOf(alert: string): string {
  const [, severity = ''] = new RegExp(`alert: ${alert}\\n[^]*?severity: (\\w+)`).exec(rules) ?? [];
  return severity;
}
