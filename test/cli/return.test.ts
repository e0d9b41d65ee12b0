import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { operate } from '../../src/spool/operate.ts';
import { Spool } from '../../src/spool/spool.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { appengineMailer, type Program } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { until } from '../support/until.ts';

/** A road, and a program in Exim's place that routes to a smarthost and takes mail as the script says. */
class Returning {
  readonly road: Road;
  readonly #exim: string;

  constructor(t: TestContext, script: string) {
    this.road = new Road(t);
    this.#exim = join(this.road.folder, 'exim4');
    this.takes(script);
  }

  takes(script: string): void {
    const bt = `[ "$1" = -bt ] && { echo '> a@b'; echo '  router = smarthost'; exit 0; }`;
    writeFileSync(this.#exim, `#!/bin/sh\ncd '${this.road.folder}'\n${bt}\n${script}\n`);
    chmodSync(this.#exim, 0o755);
  }

  start(...args: string[]): Program {
    const all = ['queue', 'return', ...args, '--spool', this.road.spool];
    return appengineMailer(this.road.t, all, { env: { APPENGINE_MAILER_EXIM: this.#exim } });
  }

  /** What Exim's place was given, or '' while it was given nothing. */
  taken(name = 'taken'): string {
    const file = join(this.road.folder, name);
    return existsSync(file) ? readFileSync(file, 'latin1') : '';
  }

  get states(): string[] {
    return lookInto(this.road.spool).messages.map(({ state }) => state);
  }

  async story(id: string): Promise<string> {
    return (await this.road.queue('explain', id)).stdout.toString();
  }
}

for (const [moment, script] of [
  ['while Exim reads', 'touch reading; exec sleep 100'],
  ['after Exim has it', 'cat >taken.new; mv taken.new taken; touch reading; exec sleep 100'],
] as const) {
  test(`a return killed ${moment} leaves the message held, and drain does not send it (law 7)`, async (t) => {
    const returning = new Returning(t, `echo $$ >exim.pid; ${script}`);
    const { road } = returning;
    const [id = '', other = ''] = handIn(road.spool, [{}, {}]);
    const killed = returning.start(id);
    await until(
      () => existsSync(join(road.folder, 'reading')),
      () => killed.stderr,
    );
    await killed.stop('SIGKILL');
    process.kill(Number(returning.taken('exim.pid')), 'SIGKILL');
    assert.deepEqual(returning.states, ['held', 'queued']);
    assert.match(await returning.story(id), /began to return it[^]*or that was interrupted/);

    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
    assert.deepEqual(
      proxy.posts.map((post) => post.id),
      [other],
    );
    returning.takes('cat >taken');
    assert.equal(
      (await returning.start(id).ended).stdout.toString(),
      'returned 1 message for 1 recipient\n',
    );
    assert.match(returning.taken(), /^MAIL FROM:<s@example.com>\n[^]*\n\.\n$/);
    assert.deepEqual(returning.states, ['deleted', 'sent']);
  });
}

for (const [what, script, reason] of [
  ['refuses', `cat >/dev/null; echo '452 space shortage'; exit 2`, /452 space shortage/],
  ['dies', 'kill -9 $$', /a signal/],
  ['says yes and has not read it all', 'exit 0', /before it had read/],
] as const) {
  test(`an Exim that ${what} has nothing: the message stays, held, and its history says why (law 7)`, async (t) => {
    const returning = new Returning(t, script);
    const [id = ''] = handIn(returning.road.spool, [{ bytes: Buffer.alloc(3_000_000, 'text\n') }]);
    const { code, stdout, stderr } = await returning.start(id).ended;
    assert.deepEqual([code, stdout.toString()], [75, 'returned 0 messages\n']);
    assert.match(stderr, new RegExp(`Exim did not take 1.*queue explain ${id}`));
    assert.deepEqual(returning.states, ['held']);
    assert.match(await returning.story(id), reason);
  });
}

test('without a program in Exim’s place, or with one that does not work, nothing is touched: 78', async (t) => {
  const returning = new Returning(t, 'exit 1');
  handIn(returning.road.spool, [{}]);
  const missing = await returning.start('--all', '--exim', '/nowhere/exim4').ended;
  assert.equal(missing.code, 78);
  assert.match(missing.stderr, /cannot run \/nowhere\/exim4.*--exim/);
  const broken = await returning.start('--all', '--exim', '/bin/false').ended;
  assert.equal(broken.code, 78);
  assert.match(broken.stderr, /-bt` does not work/);
  assert.deepEqual(returning.states, ['queued']);
});

test('what is being sent is returned to Exim only for who has no mail from the proxy (law 6)', async (t) => {
  const returning = new Returning(t, 'cat >taken');
  const { road } = returning;
  const [id = ''] = handIn(road.spool, [
    { recipients: ['a@example.org', 'b@example.org'], bytes: '.\n' },
  ]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  const [post] = await proxy.received(1);
  const operator = returning.start(id);
  // It must not end before the outcome; there is no event that says that it waits.
  await Promise.race([operator.ended, new Promise((resolve) => setTimeout(resolve, 2000))]);
  assert.equal(operator.child.exitCode, null);
  post.answer((recipient) =>
    recipient.startsWith('a')
      ? { status: '2.0.0', reason: 'ok' }
      : { status: '4.2.2', reason: 'full' },
  );
  const { code, stderr } = await operator.ended;
  assert.equal(code, 0, stderr);
  assert.equal(
    returning.taken(),
    bsmtp('s@example.com', ['b@example.org'], '.\n').toString('latin1'),
  );
  await drain.says(/attempt 1/);
  assert.deepEqual(
    lookInto(road.spool).messages[0]?.recipients.map(({ state }) => state),
    ['sent', 'deleted'],
  );
});

test('two returns at once give nothing twice: the second is told to wait (75)', async (t) => {
  const returning = new Returning(
    t,
    'touch reading; while [ ! -e go ]; do sleep 0.1; done; cat >>taken',
  );
  const { folder, spool } = returning.road;
  handIn(spool, [{}]);
  const first = returning.start('--all');
  await until(
    () => existsSync(join(folder, 'reading')),
    () => first.stderr,
  );
  const second = await returning.start('--all').ended;
  assert.equal(second.code, 75);
  assert.match(second.stderr, /another `queue return` is at work/);
  writeFileSync(join(folder, 'go'), '');
  assert.equal((await first.ended).code, 0);
  assert.equal(returning.taken().split('MAIL FROM').length, 2);
});

test('what is being given to Exim is nobody else’s to release, bounce or delete until Exim has it (law 6)', async (t) => {
  const returning = new Returning(
    t,
    'touch reading; while [ ! -e go ]; do sleep 0.1; done; cat >taken',
  );
  const { road } = returning;
  const [id = ''] = handIn(road.spool, [{}]);
  const returns = returning.start(id);
  await until(
    () => existsSync(join(road.folder, 'reading')),
    () => returns.stderr,
  );
  const spool = new Spool(road.spool, 'operator');
  for (const verb of ['release', 'bounce', 'delete', 'hold', 'retry'] as const) {
    assert.equal(operate(spool, id, { verb, now: Date.now() }), 'busy', verb);
  }
  spool.close();
  const release = road.queue('release', id);
  writeFileSync(join(road.folder, 'go'), '');
  assert.equal((await returns.ended).code, 0);
  assert.equal((await release).code, 1);
  assert.deepEqual(returning.states, ['deleted']);
});
