import assert from 'node:assert/strict';
import test from 'node:test';
import { appengineMailer, type Ended } from '../support/program.ts';
import { clock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

// Fluent Bit #11387: what had failed was forgotten at a restart.
test('retry of a failed message sends it again, also after a restart, to those who did not get it', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{ recipients: ['a@example.org', 'b@example.org'] }]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer((recipient) =>
      recipient.startsWith('b')
        ? { status: '5.1.1', reason: 'no' }
        : { status: '2.0.0', reason: 'ok' },
    ),
  );
  const first = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await first.says(/failed \(5\.1\.1 no\)/);
  await first.stop('SIGKILL');
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/started; 0 messages queued/);
  assert.equal(lookInto(road.spool).counters.failed, 1);
  proxy.script = (post) => post.accept();
  const { code, stdout } = await road.queue('retry', id);
  assert.deepEqual([code, stdout.toString()], [0, 'retried 1 message for 1 recipient\n']);
  await drain.says(/attempt 2: <b@example.org> sent/);
  assert.deepEqual(
    proxy.posts.map(({ recipients }) => recipients),
    [['a@example.org', 'b@example.org'], ['b@example.org']],
  );
  assert.equal(lookInto(road.spool).counters.sent, 1);
  const again = await road.queue('retry', id);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /not in a state to retry/);
});

test('retry --all makes due what waits for its backoff', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '4.2.2', reason: 'full' })),
  );
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/deferred/, 2);
  proxy.script = (post) => post.accept();
  assert.equal(
    (await road.queue('retry', '--all')).stdout.toString(),
    'retried 2 messages for 2 recipients\n',
  );
  await drain.says(/attempt 2: .*> sent \(/, 2);
});

for (const verb of ['retry', 'release']) {
  test(`${verb} has drain ask a proxy at once that is down and asked to be left alone for long`, async (t) => {
    const road = new Road(t);
    const [waits = ''] = handIn(road.spool, [{}, {}]);
    const proxy = await ScriptedProxy.start(t, road.key, ({ response }) => {
      response.writeHead(503, { 'retry-after': '600' });
      response.end();
    });
    if (verb === 'release') assert.equal((await road.queue('hold', waits)).code, 0);
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
    await drain.says(/is down.*503/);
    proxy.script = (post) => post.accept();
    assert.equal((await road.queue(verb, '--all')).code, 0);
    await drain.says(/> sent \(/, 2);
  });
}

test('retry ends the pause that a proxy asked for with 429', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => {
    post.response.setHeader('retry-after', '600');
    post.signed(429, Buffer.from('slower'));
  });
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/fewer/);
  proxy.script = (post) => post.accept();
  assert.equal((await road.queue('retry', '--all')).code, 0);
  await drain.says(/> sent \(/);
});

test('what is held is not sent until it is released', async (t) => {
  const road = new Road(t);
  const [held = '', other] = handIn(road.spool, [{}, {}]);
  assert.equal((await road.queue('hold', held)).code, 0);
  assert.equal((await road.queue('hold', held)).code, 1, 'it is held already');
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/> sent \(/);
  assert.deepEqual(
    proxy.posts.map(({ id }) => id),
    [other],
  );
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ state }) => state),
    ['held', 'sent'],
  );
  assert.equal((await road.queue('release', held)).code, 0);
  await drain.says(/> sent \(/, 2);
  assert.equal((await road.queue('release', held)).code, 1);
});

test('ids may be several, and Exim’s', async (t) => {
  const road = new Road(t);
  const [first = '', second = '', third = ''] = handIn(road.spool, [{}, {}, {}]);
  const { eximId = '' } = lookInto(road.spool).messages.find(({ id }) => id === second) ?? {};
  const held = await road.queue('hold', first, eximId);
  assert.deepEqual(
    [held.code, held.stdout.toString()],
    [0, 'held 2 messages for 2 recipients\n'],
    held.stderr,
  );
  assert.match((await road.queue('show', eximId)).stdout.toString(), new RegExp(`id: +${second}`));
  const mixed = await road.queue('hold', third, 'nobody-knows');
  assert.deepEqual([mixed.code, mixed.stdout.toString()], [1, 'held 1 message for 1 recipient\n']);
  assert.match(mixed.stderr, /there is no message nobody-knows$/m);
});

/** A command that goes on, and whether it is over. */
function pending(ended: Promise<Ended>): { ended: Promise<Ended>; readonly isOver: boolean } {
  let isOver = false;
  const over = ended.finally(() => {
    isOver = true;
  });
  return {
    ended: over,
    get isOver() {
      return isOver;
    },
  };
}

test('hold --all holds what is queued at once, also while a post gets no answer', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  const [post] = await proxy.received(1);
  const operator = pending(road.queue('hold', '--all'));
  while (lookInto(road.spool).counters.held < 2) await new Promise((look) => setTimeout(look, 50));
  assert.equal(operator.isOver, false, 'it waits for the outcome of the one being sent');
  post.accept();
  assert.equal((await operator.ended).stdout.toString(), 'held 2 messages for 2 recipients\n');
  await drain.says(/> sent \(/);
  assert.equal(proxy.posts.length, 1);
});

test('a filter by recipient chooses whole messages, and the commands say for how many recipients it was done', async (t) => {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer((recipient) =>
      recipient.startsWith('sent')
        ? { status: '2.0.0', reason: 'ok' }
        : { status: '4.2.2', reason: 'full' },
    ),
  );
  handIn(road.spool, [{ recipients: ['x@a.example', 'y@a.example', 'sent@a.example'] }, {}]);
  await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  for (const [verb, done] of [
    ['retry', 'retried'],
    ['hold', 'held'],
    ['release', 'released'],
    ['delete', 'deleted'],
  ] as const) {
    const { code, stdout, stderr } = await road.queue(verb, '--recipient', 'x@a.example');
    assert.equal(code, 0, stderr);
    assert.equal(
      stdout.toString(),
      `${done} 1 message for 2 recipients (--recipient chooses messages, with all their recipients)\n`,
    );
  }
  const rest = await road.queue('delete', '--all');
  assert.equal(rest.stdout.toString(), 'deleted 1 message for 1 recipient\n');
});

test('the help of each command that takes a filter says that it chooses whole messages', async (t) => {
  const road = new Road(t);
  for (const command of ['list', 'retry', 'hold', 'release', 'delete', 'bounce', 'return']) {
    const { stdout } = await road.queue(command, '--help');
    const help = stdout.toString().replace(/\s+/g, ' ');
    assert.match(help, /messages to this address or @domain, with all their recipients/, command);
  }
});

test('delete removes without sending, and is counted (law 8)', async (t) => {
  const road = new Road(t);
  const [first = ''] = handIn(road.spool, [{}, {}, {}]);
  assert.equal((await road.queue('delete', first)).code, 0);
  assert.equal((await road.queue('delete', first)).code, 1);
  const all = await road.queue('delete', '--all');
  assert.deepEqual([all.code, all.stdout.toString()], [0, 'deleted 2 messages for 2 recipients\n']);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.equal(proxy.posts.length, 0);
  const { messages, counters } = lookInto(road.spool);
  assert.deepEqual([counters.accepted, counters.deleted], [3, 3]);
  for (const { state, recipients } of messages) {
    assert.deepEqual([state, recipients[0]?.state], ['deleted', 'deleted']);
  }
});

for (const [verb, script, wanted, code] of [
  ['delete', 'defers', 'deleted', 0],
  ['delete', 'accepts', 'sent', 1],
  ['hold', 'defers', 'held', 0],
] as const) {
  test(`${verb} of what is being sent waits for its outcome; the proxy ${script} it: ${wanted}`, async (t) => {
    const road = new Road(t);
    const [id = ''] = handIn(road.spool, [{}]);
    const proxy = await ScriptedProxy.start(t, road.key, () => {});
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
    const [post] = await proxy.received(1);
    const operator = pending(road.queue(verb, id));
    // It must not end before the outcome; there is no event that says that it waits.
    await Promise.race([operator.ended, new Promise((resolve) => setTimeout(resolve, 2000))]);
    assert.equal(operator.isOver, false);
    assert.equal(lookInto(road.spool).counters.sending, 1);
    if (script === 'accepts') post.accept();
    else post.answer(() => ({ status: '4.2.2', reason: 'full' }));
    assert.equal((await operator.ended).code, code);
    await drain.says(/attempt 1/);
    assert.deepEqual(
      lookInto(road.spool).messages.map(({ state }) => state),
      [wanted],
    );
    await drain.stop();
  });
}

test(
  'delete gives up with 75 when what is being sent has no outcome for 30 s',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    const [id = ''] = handIn(road.spool, [{}]);
    const proxy = await ScriptedProxy.start(t, road.key, () => {});
    road.drain([], { GMAIL_PROXY_URL: proxy.url });
    await proxy.received(1);
    const args = ['queue', 'delete', id, '--spool', road.spool];
    const { code, stderr } = await appengineMailer(t, args, { env: clock('+0 x20') }).ended;
    assert.equal(code, 75, stderr);
    assert.match(stderr, /1 message being sent, or given to Exim, for more than 30 s/);
    assert.equal(lookInto(road.spool).counters.sending, 1);
  },
);

test('what a dead drain left as being sent is deleted without waiting (law 7)', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await proxy.received(1);
  await drain.stop('SIGKILL');
  assert.equal(lookInto(road.spool).counters.sending, 1);
  assert.equal((await road.queue('delete', id)).code, 0);
  assert.equal(lookInto(road.spool).counters.deleted, 1);
});
