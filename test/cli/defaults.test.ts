import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { mounted } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run, type Ended } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';

const twice = ['# Options', 'APPENGINE_MAILER_SPOOL=/a', '', 'APPENGINE_MAILER_SPOOL=/b'];

/** Runs a program of the checkout where a file of /etc/default has these lines. */
async function runWith(
  t: TestContext,
  file: string,
  lines: readonly string[],
  [program = '', ...args]: readonly string[],
  input?: Buffer,
): Promise<Ended> {
  const inside = await mounted(t, '/etc/default');
  const script = 'printf "%s\\n" "$0" >"$1"; shift; exec "$@"';
  const words = [lines.join('\n'), file, inCheckout(program), ...args];
  return run(t, ...inside('/bin/sh', '-c', script, ...words), input && { input });
}

const programs = [
  ['dist/bin/appengine-mailer.js', 'drain'],
  ['dist/bin/appengine-mailer.js', 'queue', 'list'],
  ['dist/bin/appengine-mailer.js', 'check'],
  ['dist/bin/appengine-mailer.js', 'proxy'],
  ['dist/bin/gmail.js', 'a@example.org'],
];
for (const words of programs) {
  const suffix = words.includes('proxy') ? '-proxy' : '';
  test(
    `${words.slice(0, 2).join(' ')} ends with 78 where /etc/default has a name twice`,
    needs('root'),
    async (t) => {
      const file = `/etc/default/appengine-mailer${suffix}`;
      const { code, stderr } = await runWith(t, file, twice, words);
      assert.equal(code, 78, stderr);
      const said = `${file} sets APPENGINE_MAILER_SPOOL twice, in the lines 2 and 4: `;
      assert.ok(stderr.includes(said), stderr);
    },
  );
}

test(
  'law 1: exim-pipe says 75 and why where /etc/default has a name twice: either spool may be meant',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const lines = ['', '/missing'].map((end) => `APPENGINE_MAILER_SPOOL=${road.spool}${end}`);
    const input = bsmtp('', ['a@x.example'], 'Subject: test\n\ntest\n');
    for (const order of [lines, lines.toReversed()]) {
      const words = ['exim/exim-pipe', '1abc'];
      const { code, stdout } = await runWith(
        t,
        '/etc/default/appengine-mailer',
        order,
        words,
        input,
      );
      assert.equal(code, 75);
      assert.match(
        stdout.toString(),
        /^not queued, try again later: \/etc\/default\/appengine-mailer sets APPENGINE_MAILER_SPOOL twice, in the lines 1 and 2: [^\n]*\n$/,
      );
      assert.deepEqual(stored(road.spool), []);
    }
  },
);

for (const value of ['4h,24h', '4h 24h', ' 4h , 24h ', 'none']) {
  test(
    `several values stand in one line, with commas or spaces: ${JSON.stringify(value)}`,
    needs('root'),
    async (t) => {
      const road = new Road(t);
      const lines = [
        `APPENGINE_MAILER_DELAY_WARNINGS="${value}"`,
        `GMAIL_SECRET_KEY=${road.key}`,
        'GMAIL_PROXY_URL=http://127.0.0.1:1/',
      ];
      const words = ['dist/bin/appengine-mailer.js', 'drain', '--once', '--spool', road.spool];
      const { code, stderr } = await runWith(t, '/etc/default/appengine-mailer', lines, words);
      assert.equal(code, 0, stderr);
    },
  );
}
