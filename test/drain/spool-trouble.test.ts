import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Spool } from '../../src/spool/spool.ts';
import { clock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { mounted } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, inCheckout, start } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

/** Makes it fail that something is recorded as sent, while all else can be written. */
const breakSpool = `CREATE TRIGGER broken BEFORE UPDATE ON recipient BEGIN
  SELECT raise(ABORT, 'the disk takes no more'); END`;
const mendSpool = 'DROP TRIGGER broken';

function change(folder: string, sql: string): void {
  const spool = new Spool(folder, 'operator');
  spool.db.exec(sql);
  spool.wakeDrain();
  spool.close();
}

// Haraka's hmail.js: mail whose file could not be deleted after it was sent was sent again.
test('a spool that cannot be written: nothing more is sent, and what was sent is recorded later (law 6)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  // The first is posted alone, since nothing has passed yet.
  const [post] = await proxy.received(1);
  change(road.spool, breakSpool);
  proxy.script = (each) => each.accept();
  post.accept();
  await drain.says(
    /cannot be written, so nothing is sent: the disk takes no more; it is not .* \(trigger broken\) .*; next try in 5 s/,
  );
  assert.equal(proxy.posts.length, 1);
  change(road.spool, mendSpool);
  await drain.says(/can be written again/);
  await drain.says(/> sent \(/, 2);
  assert.equal(proxy.posts.length, 2, 'nothing was posted twice');
  assert.equal((await drain.stop()).code, 0);
  assert.equal(lookInto(road.spool).counters.sent, 2);
});

test('a spool that cannot be read while the proxy is down does not end drain', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' });
  await drain.says(/is down.*try 1 failed/);
  change(road.spool, 'ALTER TABLE counter RENAME TO lost');
  await drain.says(/cannot be written, so nothing is sent: no such table: counter/);
  change(road.spool, 'ALTER TABLE lost RENAME TO counter');
  await drain.says(/can be written again/);
  await drain.says(/is down.*try [2-9] failed/);
  assert.equal((await drain.stop()).code, 0);
});

test('drain --once ends with 74 when it cannot record what it sent', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  const drain = road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url });
  const [post] = await proxy.received(1);
  change(road.spool, breakSpool);
  post.accept();
  const { code, stderr } = await drain.ended;
  assert.equal(code, 74, stderr);
  assert.match(
    stderr,
    /appengine-mailer: the spool \S+ cannot be used: the disk takes no more; it is not .* To do: .*\n$/,
  );
});

// OpenSMTPD #373: one corrupt message stopped all.
test('a message whose bytes the spool has lost is held, and said to be; the others go out (law 5)', async (t) => {
  const road = new Road(t);
  const [damaged = '', sound] = handIn(road.spool, [{}, {}]);
  change(road.spool, 'DELETE FROM body WHERE message = 1');
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  const [line] = await drain.says(/^.* is damaged and held, others go on: .*$/m);
  assert.match(line, new RegExp(`^attention: ${damaged} .*lost part 0`));
  await drain.says(/> sent \(/);
  await drain.stop();
  assert.deepEqual(
    proxy.posts.filter(({ recipients }) => recipients.length > 0).map(({ id }) => id),
    [sound],
  );
  assert.doesNotMatch(drain.stderr, /is down/);
});

test('what is wrong with the spool is one sentence and 74 for the queue commands too', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{ bytes: 'x'.repeat(3 << 20) }]);
  change(road.spool, 'DELETE FROM body WHERE part = 1');
  const raw = ['queue', 'show', '--raw', id, '--spool', road.spool];
  const shown = await appengineMailer(t, raw).ended;
  assert.equal(shown.code, 74);
  assert.match(shown.stderr, /^appengine-mailer: the spool \S+ cannot be used: .*lost part 1.*\n$/);
});

test(
  'a read-only spool: drain ends with 74, because it may be fixed, and says what to do',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const inside = await mounted(t, road.spool, 'ro');
    const [file, args] = inside(
      process.execPath,
      inCheckout('dist/bin/appengine-mailer.js'),
      'drain',
    );
    const env = { GMAIL_PROXY_URL: 'http://127.0.0.1:1/', GMAIL_SECRET_KEY: road.key };
    const drain = start(t, file, [...args, '--spool', road.spool], { env });
    const { code, stderr } = await drain.ended;
    assert.equal(code, 74);
    assert.match(stderr, /read-only here: .*ReadWritePaths=/);
  },
);

test(
  'a spool that is removed under drain: it says so and ends, and the next takes what is there',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    // Nobody wakes it for what it does not have: it is to look, which it does every 30 s.
    const env = { GMAIL_PROXY_URL: proxy.url, ...clock('+0 x60') };
    const drain = road.drain([], env);
    await drain.says(/started/);
    for (const file of readdirSync(road.spool)) rmSync(join(road.spool, file));
    const [id] = handIn(road.spool, [{}]);
    const { code, stderr } = await drain.ended;
    assert.equal(code, 74, stderr);
    assert.match(
      stderr,
      /cannot be used: \S+spool\.db was removed or replaced while it was open\n$/,
    );
    assert.equal((await road.drain(['--once'], env).ended).code, 0);
    assert.deepEqual(
      proxy.posts.map((post) => post.id),
      [id],
    );
  },
);
