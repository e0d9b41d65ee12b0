import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { proxyMetrics } from '../../src/proxy/proxy-metrics.ts';
import { FigureBook } from '../../src/watch/figure-book.ts';
import { seriesName, type Metric } from '../../src/watch/metric.ts';
import { spoolMetrics } from '../../src/watch/spool-metrics.ts';
import { spoolView } from '../../src/watch/spool-view.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { inCheckout } from '../support/program.ts';

const page = readFileSync(inCheckout('debian/man/appengine-mailer-metrics.7'), 'utf8');

/** The names in the list of a section. */
function namesIn(section: string): string[] {
  const [, text = ''] = page.split(`.Sh ${section}\n`);
  const items = text.split('\n.Sh ')[0]?.match(/^\.It Li .*$/gm) ?? [];
  return items.flatMap((item) => item.slice('.It Li '.length).split(' , '));
}

function namesOf(metrics: readonly Metric[]): string[] {
  return metrics.map((metric) => seriesName(metric).replace('appengine_mailer_', '')).toSorted();
}

test('the manual has every metric of a queue, and no other', (t) => {
  const metrics = spoolMetrics(spoolView(freshSpool(t)));
  assert.deepEqual(namesIn('METRICS OF A QUEUE').toSorted(), namesOf(metrics));
});

test('the manual has every metric of a proxy, and no other', () => {
  const backend = { kind: 'file', trouble: undefined };
  const metrics = proxyMetrics({ figures: new FigureBook([]), keys: [], backend });
  assert.deepEqual(namesIn('METRICS OF A PROXY').toSorted(), namesOf(metrics));
});
