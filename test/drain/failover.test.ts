import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import test, { type TestContext } from 'node:test';
import { statusText } from '../../src/drain/status-text.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { onMachine } from '../support/on-machine.ts';
import { appengineMailer, inCheckout, start } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy, type Received, type Script } from '../support/scripted-proxy.ts';
import { Wiretap } from '../support/wiretap.ts';

// GMAIL_PROXY_URL names several proxies.

const drop: Script = ({ request }) => void request.socket.destroy();
const die = (proxy: ScriptedProxy) => {
  [proxy.greet, proxy.script] = [drop, drop];
};
const dead = 'http://127.0.0.1:1/';
const hasMail = ({ recipients }: Received) => recipients.length > 0;
const mailOf = ({ posts }: ScriptedProxy) => posts.filter(hasMail);

/** Two scripted proxies, each with its ledger: the first dies when it gets mail, and the second takes everything. */
async function twoProxies(
  t: TestContext,
  road: Road,
  [one, two]: [string | undefined, string | undefined],
): Promise<{ first: ScriptedProxy; second: ScriptedProxy; urls: string }> {
  const first = await ScriptedProxy.start(t, road.key, (post) => {
    if (!hasMail(post)) return post.accept();
    die(first);
    return drop(post);
  });
  const second = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  [first.ledger, second.ledger] = [one, two];
  return { first, second, urls: `${first.url} ${second.url}` };
}

const stateOf = (road: Road, id: string) =>
  lookInto(road.spool).messages.find((message) => message.id === id);

test('the first proxy is down: the second takes the mail, and the first again when it answers (law 5)', async (t) => {
  const road = new Road(t);
  const { first, second, urls } = await twoProxies(t, road, ['one', 'two']);
  die(first);
  const [early = ''] = handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: urls });
  await drain.says(/mail goes to http\S+, because the first proxy does not take it: http\S+: the/);
  await drain.says(/> sent \(/);
  assert.deepEqual(
    mailOf(second).map(({ id, ledger }) => [id, ledger]),
    [[early, 'two']],
  );
  assert.doesNotMatch(drain.stderr, / is down|takes mail:/, 'there is no outage');
  const { endpoint } = lookInto(road.spool);
  assert.deepEqual([endpoint.downSince, endpoint.fallback?.url], [null, second.url]);
  const stats = (await road.queue('stats')).stdout.toString();
  assert.match(
    stats,
    new RegExp(`for \\S+ \\S+ mail goes to ${second.url}, because the first .*${first.url}`),
  );

  [first.greet, first.script] = [(post) => post.accept(), (post) => post.accept()];
  await first.received(1, ({ recipients }) => recipients.length === 0);
  const [late = ''] = handIn(road.spool, [{}]);
  await drain.says(/mail goes to the first proxy again, http\S+/);
  await drain.says(/> sent \(/, 2);
  assert.deepEqual(
    mailOf(first).map(({ id }) => id),
    [late],
  );
  assert.equal(lookInto(road.spool).endpoint.fallback, null);
  assert.equal(drain.stderr.match(/mail goes to/g)?.length, 2, 'each change is told once');
  assert.equal((await drain.stop()).code, 0);
});

test('an answer is lost, and the proxy dies: its message waits for it although others go to the second, also when drain is started anew, and is sent once (law 6)', async (t) => {
  const [road, other] = [new Road(t), new Road(t)];
  const proxy = await road.proxy();
  await other.proxy();
  const tap = await Wiretap.open(t, road.address);
  const env = { GMAIL_PROXY_URL: `${tap.url} http://${other.address}/` };
  let drain = road.drain([], env);
  const [passed = ''] = handIn(road.spool, [{}]);
  await drain.says(/> sent \(/);

  tap.answersToLose = Infinity;
  const [lost = ''] = handIn(road.spool, [{}]);
  await drain.says(/deferred \(4\.3\.0 it was posted to \S+, which did not answer/);
  await proxy.stop('SIGKILL');
  handIn(road.spool, [{}]);
  await drain.says(/> sent \(/, 2);
  const explained = (await road.queue('explain', lost)).stdout.toString();
  const next = `next: attempt 2, by ${tap.url}, which was posted it and has not answered`;
  assert.ok(explained.includes(next), explained);
  await drain.stop('SIGKILL');

  drain = road.drain([], env);
  handIn(road.spool, [{}]);
  await drain.says(/> sent \(/);
  const ids = road.deliveries().map(({ id }) => id);
  assert.deepEqual([ids.toSorted(), other.deliveries().length], [[passed, lost].toSorted(), 2]);

  tap.answersToLose = 0;
  await road.proxy();
  await drain.says(/> was sent before \(/);
  assert.equal(stateOf(road, lost)?.state, 'sent');
  assert.equal(road.deliveries().length + other.deliveries().length, 4);
  assert.equal((await drain.stop()).code, 0);
});

test('an answer is lost: another proxy that shows the same ledger gets the message at once, for this ledger (law 6)', async (t) => {
  const road = new Road(t);
  const { first, second, urls } = await twoProxies(t, road, ['shared', 'shared']);
  const [id = ''] = handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: urls });
  await drain.says(/> sent \(/);
  assert.deepEqual(
    mailOf(first)
      .map((post) => post.id)
      .at(0),
    id,
  );
  assert.deepEqual(
    mailOf(second).map((post) => [post.id, post.ledger]),
    [[id, 'shared']],
  );
  assert.equal((await drain.stop()).code, 0);
});

for (const [what, ledgers, goes] of [
  ['ledgers of their own', ['one', 'two'], false],
  ['one ledger', ['shared', 'shared'], true],
  ['no ledger that is known', [undefined, undefined], false],
] as const) {
  test(`drain is killed while it posts, and its proxy dies too: with ${what} the message ${goes ? 'goes to' : 'waits, and does not go to'} the second (laws 6 and 7)`, async (t) => {
    const road = new Road(t);
    const { first, second, urls } = await twoProxies(t, road, [...ledgers]);
    // The ledger of a proxy is known when it has answered once.
    let isSilent = false;
    first.script = (post) => (isSilent ? undefined : post.accept());
    handIn(road.spool, [{}]);
    const killed = road.drain([], { GMAIL_PROXY_URL: urls });
    await killed.says(/> sent \(/);
    isSilent = true;
    const [id = ''] = handIn(road.spool, [{}]);
    await first.received(1, (post) => post.id === id);
    await killed.stop('SIGKILL');

    die(first);
    const drain = road.drain([], { GMAIL_PROXY_URL: urls });
    const [next = ''] = handIn(road.spool, [{}]);
    await second.received(1, (post) => post.id === next);
    if (!goes) await drain.says(/deferred \(4\.3\.0 it was posted to/);
    await drain.says(/> sent \(/, goes ? 2 : 1);
    assert.equal(
      mailOf(second).some((post) => post.id === id),
      goes,
    );
    assert.equal((await drain.stop()).code, 0);
  });
}

test('what the first proxy is still sending is not posted to another one when it dies (law 6)', async (t) => {
  const road = new Road(t);
  const { first, second, urls } = await twoProxies(t, road, ['one', 'two']);
  first.script = (post) => (post.ask ? drop(post) : post.inProgress());
  const [id = ''] = handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: urls });
  await first.received(1, ({ ask }) => ask);
  die(first);
  await drain.says(/deferred \(4\.3\.0 it was posted to/);
  assert.deepEqual(mailOf(second), []);
  assert.equal(stateOf(road, id)?.state, 'queued');

  [first.greet, first.script] = [(post) => post.accept(), (post) => post.accept()];
  await drain.says(/> sent \(/);
  assert.deepEqual(mailOf(first).at(-1)?.ledger, 'one');
  assert.equal((await drain.stop()).code, 0);
});

test('a signed refusal, as of a proxy whose relay is down, shows that nothing was sent: the second proxy gets the message at once', async (t) => {
  const road = new Road(t);
  const { first, second, urls } = await twoProxies(t, road, ['one', 'two']);
  first.script = (post) =>
    hasMail(post) ? post.signed(503, Buffer.from('the relay is down')) : post.accept();
  handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: urls });
  await drain.says(/> sent \(/);
  assert.deepEqual([mailOf(first).length, mailOf(second).length], [1, 1]);
  assert.equal((await drain.stop()).code, 0);
});

for (const [what, refuse] of [
  ['a signed 503', (post) => post.signed(503, Buffer.from('the relay is down'))],
  ['429 from a load balancer', ({ response }) => void response.writeHead(429).end()],
] as const satisfies [string, Script][]) {
  test(`a connection breaks after the proxy has taken the message, and the new one is answered by ${what}: the message waits for that proxy, and is sent once (law 6)`, async (t) => {
    const road = new Road(t);
    const { first, second, urls } = await twoProxies(t, road, ['one', 'two']);
    first.script = (post) => post.accept();
    handIn(road.spool, [{}]);
    const drain = road.drain([], { GMAIL_PROXY_URL: urls });
    await drain.says(/> sent \(/);
    let taken = 0;
    first.script = (post) => {
      if (hasMail(post)) taken += 1;
      // It is sent then, and nobody hears of it.
      return taken === 1 && hasMail(post) ? drop(post) : refuse(post);
    };
    first.greet = (post) => (taken < 2 ? post.accept() : refuse(post));
    const [id = ''] = handIn(road.spool, [{}]);
    await drain.says(/deferred \(4\.3\.0 it was posted to/);
    assert.deepEqual(mailOf(second), []);

    [first.greet, first.script] = [(post) => post.accept(), (post) => post.accept()];
    await drain.says(/> sent \(/, 2);
    assert.deepEqual(mailOf(second), []);
    assert.equal(stateOf(road, id)?.state, 'sent');
    assert.equal((await drain.stop()).code, 0);
  });
}

test('a proxy with another ledger is at the same URL: it refuses what was posted for the first ledger, nothing is sent twice, and new mail goes on (law 6)', async (t) => {
  const [road, other] = [new Road(t), new Road(t)];
  let proxy = await road.proxy();
  const tap = await Wiretap.open(t, road.address);
  const drain = road.drain([], { GMAIL_PROXY_URL: tap.url });
  handIn(road.spool, [{}]);
  await drain.says(/> sent \(/);
  tap.answersToLose = Infinity;
  handIn(road.spool, [{}]);
  await drain.says(/stays in the queue \(4\.4\.1 the post to the proxy failed/);
  await proxy.stop('SIGKILL');
  other.address = road.address;
  proxy = await other.proxy();
  tap.answersToLose = 0;
  await drain.says(/deferred \(4\.3\.0 it was posted to/);
  handIn(road.spool, [{}]);
  await drain.says(/> sent \(/, 2);
  assert.deepEqual([road.deliveries().length, other.deliveries().length], [2, 1]);

  await proxy.stop();
  await road.proxy();
  handIn(road.spool, [{}]);
  await drain.says(/> sent \(/, 3);
  await drain.says(/> was sent before \(/);
  assert.deepEqual([road.deliveries().length, other.deliveries().length], [3, 1]);
  assert.equal((await drain.stop()).code, 0);
});

test('a message that waits for a proxy that is taken from GMAIL_PROXY_URL goes to any other one, and the journal says so', async (t) => {
  const road = new Road(t);
  const { second, urls } = await twoProxies(t, road, ['one', 'two']);
  const [id = ''] = handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: urls });
  await drain.says(/deferred \(4\.3\.0 it was posted to/);
  await drain.stop();
  const next = road.drain(['--once'], { GMAIL_PROXY_URL: second.url });
  const { code, stderr } = await next.ended;
  assert.equal(code, 0);
  assert.match(
    stderr,
    /is not waited for any more: 1 message that it was posted .* may arrive twice/,
  );
  assert.equal(stateOf(road, id)?.state, 'sent');
});

test('a message waits for a proxy that is gone: another one with its ledger is asked, although mail goes to one before it (law 6)', async (t) => {
  const road = new Road(t);
  const { second, urls } = await twoProxies(t, road, ['shared', 'another']);
  const third = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  third.ledger = 'shared';
  const [id = ''] = handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: `${urls} ${third.url}` });
  await drain.says(/> sent \(/);
  assert.deepEqual(mailOf(second), []);
  assert.deepEqual(
    mailOf(third).map((post) => [post.id, post.ledger]),
    [[id, 'shared']],
  );
  assert.equal((await drain.stop()).code, 0);
});

test('the second proxy was posted a message and has not answered when the first takes mail again: the second is asked, and sends it (law 6)', async (t) => {
  const road = new Road(t);
  const { first, second, urls } = await twoProxies(t, road, ['one', 'two']);
  die(first);
  second.script = (post) => (hasMail(post) ? drop(post) : post.accept());
  const [id = ''] = handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: urls });
  await drain.says(/deferred \(4\.3\.0/);
  [first.greet, first.script] = [(post) => post.accept(), (post) => post.accept()];
  await first.received(1, ({ recipients }) => recipients.length === 0);
  handIn(road.spool, [{}]);
  await drain.says(/> sent \(/);
  second.script = (post) => post.accept();
  await road.queue('retry', id);
  await drain.says(/> sent \(/, 2);
  assert.deepEqual([mailOf(first).length, mailOf(second).at(-1)?.id], [1, id]);
  assert.ok(drain.stderr.split('deferred (4.3.0').length < 5, drain.stderr);
  assert.equal((await drain.stop()).code, 0);
});

test(
  'a name has the addresses of two proxies with one ledger: when one does not answer and then takes no mail, the other answers for it (law 6), and journal, status, queue stats and check tell so',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const proxies = [];
    for (let nth = 0; nth < 2; nth += 1) {
      const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
      proxy.ledger = 'shared';
      proxies.push(proxy);
    }
    const [one, two] = proxies as [ScriptedProxy, ScriptedProxy];
    const port = Number(new URL(one.url).port);
    const beside = createServer((socket) => {
      const there = connect(Number(new URL(two.url).port), '127.0.0.1');
      for (const each of [socket, there]) each.on('error', () => {});
      socket.pipe(there).pipe(socket);
    });
    t.after(() => beside.close());
    await once(beside.listen(port, '127.0.0.2'), 'listening');

    const hosts = '127.0.0.1 localhost\n127.0.0.1 proxies\n127.0.0.2 proxies';
    const args = ['drain', '--allow-insecure', '--spool', road.spool];
    const program = [process.execPath, inCheckout('dist/bin/appengine-mailer.js'), ...args];
    const [file, onIt] = onMachine(road.folder, { hostname: 'here', hosts }, ...program);
    const env = { GMAIL_PROXY_URL: `http://proxies:${port}/`, GMAIL_SECRET_KEY: road.key };
    const drain = start(t, file, onIt, { env, input: '' });
    handIn(road.spool, [{}]);
    await drain.says(/> sent \(/);
    const [used, other] = mailOf(one).length > 0 ? [one, two] : [two, one];

    used.script = (post) => (hasMail(post) ? drop(post) : post.signed(503, Buffer.from('no')));
    const [id = ''] = handIn(road.spool, [{}]);
    await drain.says(/the post to the proxy failed/);
    await road.queue('retry', id);
    await drain.says(/> sent \(/, 2);
    assert.deepEqual(
      mailOf(other).map((post) => [post.id, post.ledger]),
      [[id, 'shared']],
    );

    const [first, second] = used === one ? ['127.0.0.1', '127.0.0.2'] : ['127.0.0.2', '127.0.0.1'];
    const at = (address: string) => `${env.GMAIL_PROXY_URL} at ${address}`;
    const told = `mail goes to ${at(second)}, because the first proxy does not take it: ${at(first)}: `;
    await drain.says(new RegExp(told));
    const look = lookInto(road.spool);
    const asked = { env: { GMAIL_SECRET_KEY: road.key } };
    const words = ['check', '--spool', road.spool, '--proxy-url', dead];
    const said = [
      statusText(look, look.shown.now, Date.now()),
      (await road.queue('stats')).stdout.toString(),
      /^.*progress.*$/m.exec((await appengineMailer(t, words, asked).ended).stdout.toString())?.[0],
    ];
    for (const text of said) assert.ok(text?.includes(told), text);

    [used.script, other.script] = [(post) => post.accept(), drop];
    handIn(road.spool, [{}]);
    await drain.says(/mail goes to the first proxy again, http\S+/);
    assert.equal(lookInto(road.spool).endpoint.fallback, null);
    assert.equal(drain.stderr.match(/mail goes to/g)?.length, 2, 'each change is told once');
    assert.equal((await drain.stop()).code, 0);
  },
);

test('when no proxy answers there is one outage, and drain --once ends with 69', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const urls = `${dead} http://127.0.0.1:2/`;
  const { code, stderr } = await road.drain(['--once'], { GMAIL_PROXY_URL: urls }).ended;
  assert.equal(code, 69);
  assert.match(
    stderr,
    /none of the proxies http\S+:1\/, http\S+:2\/ takes mail: http\S+:1\/: .*; http\S+:2\/: .*ECONNREFUSED/,
  );
  assert.notEqual(lookInto(road.spool).endpoint.downSince, null);
});

test('drain --once asks the second proxy when the first does not answer', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const second = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const { code } = await road.drain(['--once'], { GMAIL_PROXY_URL: `${dead} ${second.url}` }).ended;
  assert.equal(code, 0);
  assert.equal(lookInto(road.spool).counters.sent, 1);
});
