import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const DAY = 86_400_000;

/** Says of each recipient what the beginning of its address asks for. */
const SAID = {
  sent: { status: '2.0.0', reason: 'ok' },
  full: { status: '4.2.2', reason: 'mailbox full' },
  nobody: { status: '5.1.1', reason: 'no such user' },
};

async function scripted(road: Road): Promise<ScriptedProxy> {
  return ScriptedProxy.start(road.t, road.key, (post) =>
    post.answer((to) => SAID[to.split('@')[0] as keyof typeof SAID]),
  );
}

async function story(road: Road, id: string): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await road.queue('explain', id, '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout.toString()) as Record<string, unknown>;
}

async function text(road: Road, id: string): Promise<string> {
  return (await road.queue('explain', id)).stdout.toString();
}

const to = (recipient: string) => ({ recipients: [`${recipient}@x`] });

const at = (time: unknown) => Date.parse(String(time));

test('explain: of a new message, of one that is due, and that no drain runs', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{ bytes: 'Subject: hello\n\nx\n' }]);
  const { why, next, next_at, subject, history } = await story(road, id);
  assert.deepEqual([subject, history, next_at], ['hello', [], null]);
  assert.equal(why, 'it is new; and no drain is running');
  assert.equal(next, 'nothing, until drain is running: start the service appengine-mailer');
  assert.match(await text(road, id), /, subject: hello\n {2}to <r@example\.org> pending\n/);
  assert.equal((await road.queue('explain', 'x')).code, 1);
});

test('explain: each attempt and operator’s command, why it waits, and when the next attempt is', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{ recipients: ['full@x', 'sent@x'] }]);
  const proxy = await scripted(road);
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/attempt 1.*deferred/);
  await road.queue('hold', id);
  const held = await story(road, id);
  assert.equal(held['why'], 'an operator holds it');
  assert.match(String(held['next']), /^nothing, until an operator releases/);
  await road.queue('release', id);
  await drain.says(/attempt 2.*deferred/);

  const told = await story(road, id);
  const history = told['history'] as Record<string, unknown>[];
  assert.deepEqual(
    history.map(({ number, event, status, reason }) => [number, event, status, reason]),
    [
      [1, 'attempt', '4.2.2', '<full@x> deferred (4.2.2 mailbox full); <sent@x> sent (2.0.0 ok)'],
      [2, 'hold', null, null],
      [3, 'release', null, null],
      [4, 'attempt', '4.2.2', 'mailbox full'],
    ],
  );
  assert.equal(told['why'], 'it was deferred after 2 attempts: 4.2.2 mailbox full');
  assert.deepEqual([told['next'], told['next_at']], ['attempt 3', told['due_at']]);
  assert.match(
    await text(road, id),
    /attempt: 4\.2\.2 <full@x> deferred \(4\.2\.2 mailbox full\); <sent@x> sent \(2\.0\.0 ok\)\n.* held it\n.* released it\n.* attempt: [^]*\nwhy: it was deferred[^]*\nnext: attempt 3 at .* [+-]\d{4} \(in \d+ s\)\nexpires: not before .* [+-]\d{4}\n$/,
  );
});

test('explain: an outage: since when, why, and when drain asks again', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{ recipients: ['sent@x'] }]);
  const drain = road.drain(); // Nobody listens there.
  const before = Date.now();
  await drain.says(/try 3 failed/);
  const told = await story(road, id);
  assert.match(
    String(told['why']),
    /^the proxy has been down since .*Z \(for \d+ .*\): .*ECONNREFUSED/,
  );
  assert.ok(at(told['proxy_asked_at']) > before);
  assert.match(String(told['next']), /^drain asks the proxy.*, and sends when it is back$/);
  const [first] = told['history'] as Record<string, unknown>[];
  assert.equal(first?.['event'], 'postponed');
  assert.match(await text(road, id), /attempt, not counted: 4\.4\.1 .*ECONNREFUSED/);

  await drain.stop();
  const stopped = await story(road, id);
  assert.match(String(stopped['why']), /ECONNREFUSED.*; and no drain is running$/);
  const { url } = await scripted(road);
  await road.drain(['--once'], { GMAIL_PROXY_URL: url }).ended;
  assert.equal((await story(road, id))['proxy_asked_at'], null, 'the outage is over');
});

test('explain: of what is being sent, and of what was when drain died', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await proxy.received(1);
  assert.equal((await story(road, id))['why'], 'it is being sent');
  await drain.stop('SIGKILL');
  assert.equal((await story(road, id))['why'], 'it was being sent when drain died');
});

test('explain: of what is over: sent, failed, bounced by an operator, deleted, and until when it is kept', async (t) => {
  const road = new Road(t);
  const [sent = '', failed = '', orphan = '', cancelled = '', deleted = ''] = handIn(road.spool, [
    to('sent'),
    to('nobody'),
    { ...to('nobody'), sender: '' },
    to('full'),
    to('full'),
  ]);
  await road.queue('bounce', cancelled);
  await road.queue('delete', deleted);
  const { url } = await scripted(road);
  await road.drain(['--once'], { GMAIL_PROXY_URL: url }).ended;
  const { messages, shown } = lookInto(road.spool);
  const finished = new Map(messages.map((each) => [each.id, shown.wall(each.finishedAt)]));
  for (const [id, why, next, keptMs] of [
    [sent, /the proxy took it for every recipient/, /it is forgotten/, 30 * DAY],
    [failed, /its sender is owed a report/, /until it is taken/, null],
    [orphan, /there is no sender to report to/, /it is deleted/, 5 * DAY],
    [cancelled, /its sender is owed a report/, /until it is taken/, null],
    [deleted, /an operator deleted it/, /it is forgotten/, 30 * DAY],
  ] as const) {
    const told = await story(road, id);
    assert.match(String(told['why']), why);
    assert.match(String(told['next']), next);
    const kept = keptMs === null ? null : (finished.get(id) ?? NaN) + keptMs;
    assert.equal(told['next_at'] === null ? null : at(told['next_at']), kept);
  }
  assert.match(
    await text(road, cancelled),
    /failed \(5\.7\.1 an administrator[^]*an operator bounced it/,
  );
  assert.deepEqual([limits.historyMs, limits.failedBodyMs], [30 * DAY, 5 * DAY]);
});

test('stats --max-age: what is held or failed does not wait', async (t) => {
  const road = new Road(t);
  const [held = '', failed = ''] = handIn(road.spool, [{}, {}], {
    queuedAt: Date.now() - 3_600_000,
  });
  handIn(road.spool, [{}]);
  assert.equal((await road.queue('stats', '--max-age', '30m')).code, 1);
  await road.queue('hold', held);
  await road.queue('bounce', failed);
  const { code, stderr } = await road.queue('stats', '--max-age', '30m');
  assert.equal(code, 0, stderr);
});
