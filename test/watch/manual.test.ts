import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { seriesName } from '../../src/watch/metric.ts';
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

test('the manual has every metric of a queue, and no other', (t) => {
  const series = spoolMetrics(spoolView(freshSpool(t))).map(seriesName);
  const names = series.map((name) => name.replace('appengine_mailer_', ''));
  assert.deepEqual(namesIn('METRICS OF A QUEUE').toSorted(), names.toSorted());
});
