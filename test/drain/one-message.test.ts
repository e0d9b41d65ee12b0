import assert from 'node:assert/strict';
import test from 'node:test';
import type { Listed } from '../../src/spool/list.ts';
import type { ShownTime } from '../../src/sqlite/shown-time.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import type { Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy, type Received, type Script } from '../support/scripted-proxy.ts';

const good = (count: number) => Array.from({ length: count }, () => ({ bytes: 'good\n' }));
const bad = { bytes: 'bad\n', recipients: ['bad@example.org'] };

const status =
  (code: number): Script =>
  ({ response }) => {
    response.writeHead(code).end();
  };

/** Refusals that count against the message as soon as a probe passes. */
const refusals: { name: string; refuse: Script; says: RegExp; tries?: number }[] = [
  { name: '400', refuse: status(400), says: /answered 400/ },
  { name: '408', refuse: status(408), says: /answered 408/ },
  { name: '409', refuse: status(409), says: /answered 409/ },
  { name: '413', refuse: status(413), says: /answered 413/ },
  { name: '500', refuse: status(500), says: /answered 500/ },
  {
    name: 'a connection reset',
    refuse: ({ request }) => void request.socket.resetAndDestroy(),
    says: /post to the proxy failed/,
    tries: 2,
  },
  {
    name: 'a malformed answer',
    refuse: (post) => post.signed(200, Buffer.from('oops')),
    says: /not JSON/,
  },
];

test(
  'a message that is always refused waits alone, and the others are sent at once (law 5)',
  {
    concurrency: 4,
  },
  async (suite) => {
    await Promise.all(
      refusals.map(async ({ name, refuse, says, tries = 1 }) =>
        suite.test(name, async (t) => {
          const road = new Road(t);
          // The first, in the middle and the last; before any other has passed, and after all have.
          handIn(road.spool, [bad, ...good(5), bad, ...good(5), bad]);
          const proxy = await ScriptedProxy.start(t, road.key, (post) =>
            isBad(post) ? refuse(post) : post.accept(),
          );
          const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
          await drain.says(/attempt 1: <r@example.org> sent/, 10);
          await drain.says(/attempt 1: <bad@example.org> deferred/, 3);
          const now = Date.now();
          await drain.stop();

          assert.match(
            drain.stderr,
            new RegExp(`bad@example.org> deferred \\(4\\.3\\.0 .*${says.source}`),
          );
          assert.match(drain.stderr, /; next try in (?:2[4-9]|3[0-6]) s/);
          assert.doesNotMatch(drain.stderr, /attention|is down/);
          const { messages, shown } = lookInto(road.spool);
          for (const message of messages) checkRefused(message, shown, now);
          assert.equal(
            proxy.posts.filter(isBad).length,
            3 * tries,
            'a broken connection is tried twice',
          );
        }),
      ),
    );
  },
);

/** Refusals that count against the message only while other messages pass. */
for (const { name, refuse, says } of [
  { name: '403', refuse: status(403), says: /answered 403/ },
  { name: '503', refuse: status(503), says: /answered 503/ },
  { name: '422', refuse: status(422), says: /answered 422/ },
]) {
  test(`${name} for one message while others pass: it waits alone (law 5)`, async (t) => {
    const road = new Road(t);
    handIn(road.spool, [...good(1), bad]);
    let sent = 1;
    const drain: { program?: Program } = {};
    const proxy = await ScriptedProxy.start(t, road.key, async (post) => {
      if (!isBad(post)) return post.accept();
      // Another message comes and passes while this one is asked for.
      sent += 1;
      handIn(road.spool, good(1));
      await drain.program?.says(/<r@example.org> sent/, sent);
      await refuse(post);
    });
    drain.program = road.drain([], { GMAIL_PROXY_URL: proxy.url });
    await drain.program.says(says);
    await drain.program.says(/attempt 1: <bad@example.org> deferred/);
    const now = Date.now();
    await drain.program.stop();
    assert.doesNotMatch(drain.program.stderr, /attention|is down/);
    const { messages, shown } = lookInto(road.spool);
    for (const message of messages) checkRefused(message, shown, now);
  });
}

test('a message that is always refused with 503 and is the first delays the others by seconds (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [bad, ...good(20)]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    isBad(post) ? status(503)(post) : post.accept(),
  );
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/<r@example.org> sent/, 20);
  assert.ok((drain.stderr.match(/is down/g)?.length ?? 0) <= 2, drain.stderr);
  assert.ok(lookInto(road.spool).messages.every(({ state }) => state !== 'failed'));
});

// nullmailer #75: one hung peer stalled the whole queue.
test('a post that is never answered stops nobody (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [...good(1), bad, ...good(50)]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    isBad(post) ? undefined : post.accept(),
  );
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/<r@example.org> sent/, 51);
  const states = lookInto(road.spool).messages.map(({ state }) => state);
  assert.deepEqual(states.toSorted(), [
    ...Array<string>(1).fill('sending'),
    ...Array<string>(51).fill('sent'),
  ]);
  assert.equal(proxy.posts.filter(isBad).length, 1);
  await drain.stop('SIGKILL');
});

function isBad({ bytes }: Received): boolean {
  return bytes.toString() === 'bad\n';
}

function checkRefused(message: Listed, shown: ShownTime, now: number): void {
  const { state, attempts, dueAt, recipients, lastStatus } = message;
  if (recipients[0]?.address !== 'bad@example.org') {
    assert.deepEqual([state, attempts], ['sent', 1]);
    return;
  }
  assert.deepEqual([state, attempts, lastStatus], ['queued', 1, '4.3.0']);
  assert.deepEqual([recipients[0].state, recipients[0].status], ['pending', '4.3.0']);
  const ahead = shown.wall(dueAt ?? 0) - now;
  assert.ok(ahead > 15_000 && ahead <= 36_000, `due in ${ahead} ms`);
}
