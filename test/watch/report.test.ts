import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const HOUR = 3_600_000;

interface Report {
  accepted: number;
  sent: number;
  deferred: number;
  failed: number;
  hours: object[];
  senders: object[];
  domains: object[];
  failures: { name: string; count: number }[];
  deferrals: { name: string; count: number }[];
  seconds: Record<string, number>;
  largest: { size: number }[];
}

test('queue report tells what happened since then, as text, JSON and HTML, and nothing of before', async (t) => {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer((to) => {
      if (to.startsWith('gone')) return { status: '5.1.1', reason: `no such user <${to}>` };
      if (to.startsWith('full')) return { status: '4.2.2', reason: 'mailbox full' };
      return { status: '2.0.0', reason: 'ok' };
    }),
  );
  const hostile = '<script>alert(1)</script>@example.com';
  handIn(
    road.spool,
    [
      { sender: hostile, recipients: ['a@EXAMPLE.org', 'gone1@example.org', 'gone2@example.org'] },
      { sender: '', recipients: ['full@other.example'], bytes: 'x'.repeat(5000) },
    ],
    { queuedAt: Date.now() - HOUR },
  );
  handIn(road.spool, [{ sender: 'old@example.com' }], { queuedAt: Date.now() - 48 * HOUR });
  await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;

  const { stdout: json } = await road.queue('report', '--json');
  const report = JSON.parse(json.toString()) as Report;
  assert.deepEqual([report.accepted, report.sent, report.deferred, report.failed], [2, 2, 1, 2]);
  assert.deepEqual(report.senders, [
    { name: hostile, count: 1 },
    { name: '<>', count: 1 },
  ]);
  assert.deepEqual(report.domains, [{ name: 'example.org', count: 4 }]);
  assert.deepEqual(report.failures, [{ name: '5.1.1 no such user <…>', count: 2 }]);
  assert.deepEqual(
    report.deferrals.map(({ count }) => count),
    [1],
  );
  assert.equal(report.largest[0]?.size, 5000);
  assert.ok((report.seconds['p50'] ?? 0) >= 3600 && (report.seconds['p100'] ?? 0) >= 48 * 3600);

  const { stdout: text } = await road.queue('report');
  assert.match(
    text.toString(),
    /^2 messages accepted, .*\n2 recipients sent, 1 deferral, 2 recipients failed$/m,
  );
  for (const line of text.toString().split('\n')) assert.ok(line.length <= 80, line);
  const { stdout: html } = await road.queue('report', '--html');
  assert.doesNotMatch(html.toString(), /<script/);
  assert.match(html.toString(), /&#60;script&#62;/);
  const { stdout: all } = await road.queue('report', '--json', '--since', '3d');
  assert.equal((JSON.parse(all.toString()) as Report).accepted, 3);
});
