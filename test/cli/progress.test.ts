import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { progressText } from '../../src/host/progress.ts';
import { systemClock } from '../../src/host/clock.ts';
import { Spool } from '../../src/spool/spool.ts';
import { clock } from '../support/clock.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { handIn } from '../support/hand-in.ts';
import { InTerminal } from '../support/in-terminal.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const BAR = /\[[#-]{20}\] \d+ of \d+ messages, [\d.]+ a second(?:, \d+ \w+ left)?/;

const COUNT = /\d+ messages, [\d.]+ a second/;

/** A program in Exim's place that takes each message in 0.3 s. */
function slowExim({ folder }: Road): string {
  const file = join(folder, 'exim4');
  const bt = `[ "$1" = -bt ] && { echo '> a@b'; echo '  router = smarthost'; exit 0; }`;
  writeFileSync(file, `#!/bin/sh\n${bt}\ncat >/dev/null; sleep 0.3\n`);
  chmodSync(file, 0o755);
  return file;
}

test('progress says what is done, how fast, and what time is left where that is known', () => {
  const half = { done: 50, total: 100, elapsedMs: 10_000, leftMs: 10_000 };
  assert.equal(progressText(half), '50 of 100 messages, 5.0 a second, 10 s left');
  for (const leftMs of [0, NaN]) {
    assert.equal(progressText({ ...half, leftMs }), '50 of 100 messages, 5.0 a second');
  }
  assert.equal(
    progressText({ done: 1234, total: undefined, elapsedMs: 10_000, leftMs: NaN }),
    '1234 messages, 123 a second',
  );
  const more = progressText({ ...half, done: 120 });
  assert.equal(more, '120 of 120 messages, 12 a second', 'more came than there were');
});

for (const columns of [80, 30]) {
  test(
    `queue return shows its progress in a terminal of ${columns} columns, and nothing of it stays`,
    needs('debconf'),
    async (t) => {
      const road = new Road(t);
      handIn(
        road.spool,
        Array.from({ length: 6 }, () => ({})),
      );
      const args = ['queue', 'return', '--all', '--spool', road.spool];
      const env = { APPENGINE_MAILER_EXIM: slowExim(road) };
      const terminal = new InTerminal(t, args, { columns, env });
      assert.equal((await terminal.program.ended).code, 0);
      assert.match(terminal.shown, columns === 80 ? BAR : /\r?\d of 6 messages, [\d.]+ a/);
      if (columns === 80) assert.match(terminal.shown, /, [12] s left/);
      assert.deepEqual(terminal.lines, ['returned 6 messages for 6 recipients', '']);
      for (const drawn of terminal.shown.split(/[\r\n]|.\[\d*[GK]/)) {
        assert.ok(drawn.length < columns || drawn.startsWith('returned'), drawn);
      }
      assert.doesNotMatch(terminal.shown, /\[[\d;]*m/, 'it has no colours');
    },
  );
}

test(
  'what is done in less than half a second shows no progress, and neither does a dumb terminal',
  needs('debconf'),
  async (t) => {
    const road = new Road(t);
    handIn(
      road.spool,
      Array.from({ length: 4 }, () => ({})),
    );
    const hold = new InTerminal(t, ['queue', 'hold', '--all', '--spool', road.spool]);
    await hold.program.ended;
    assert.equal(hold.shown, 'held 4 messages for 4 recipients\r\n');
    const env = { APPENGINE_MAILER_EXIM: slowExim(road), TERM: 'dumb' };
    const args = ['queue', 'return', '--all', '--spool', road.spool];
    const dumb = new InTerminal(t, args, { env });
    await dumb.program.ended;
    assert.equal(dumb.shown, 'returned 4 messages for 4 recipients\r\n');
  },
);

test('where standard error is no terminal nothing of progress is written', async (t) => {
  const road = new Road(t);
  handIn(
    road.spool,
    Array.from({ length: 4 }, () => ({})),
  );
  const args = ['queue', 'return', '--all', '--spool', road.spool];
  const env = { APPENGINE_MAILER_EXIM: slowExim(road) };
  const { stdout, stderr } = await appengineMailer(t, args, { env }).ended;
  assert.equal(stdout.toString(), 'returned 4 messages for 4 recipients\n');
  assert.equal(stderr, '');
});

test(
  'drain --once shows its progress below the lines of its journal, which stay whole',
  needs('debconf'),
  async (t) => {
    const road = new Road(t);
    let posts = 0;
    const proxy = await ScriptedProxy.start(t, road.key, (post) => {
      posts += 1;
      setTimeout(() => post.accept(), 150 * posts);
    });
    handIn(
      road.spool,
      Array.from({ length: 10 }, () => ({})),
    );
    const env = { GMAIL_PROXY_URL: proxy.url, GMAIL_SECRET_KEY: road.key };
    const args = ['drain', '--once', '--spool', road.spool];
    const terminal = new InTerminal(t, args, { env });
    assert.equal((await terminal.program.ended).code, 0);
    assert.match(terminal.shown, BAR);
    const { lines } = terminal;
    assert.equal(lines.filter((line) => /^\w{32} .*: attempt 1: .* sent/.test(line)).length, 10);
    for (const line of lines) assert.doesNotMatch(line, /#|a second/);
    assert.match(lines.at(-2) ?? '', /^drain of \S+ stopped; 0 messages queued$/);
  },
);

test(
  'queue export, delete and fsck show their progress, of which nothing stays',
  needs('debconf', 'faketime'),
  async (t) => {
    const road = new Road(t);
    const spool = new Spool(road.spool, 'drain');
    fillSpool(spool, 300, { now: systemClock.wallNow() });
    spool.close();
    const file = join(road.folder, 'exported');
    for (const [args, bar, said] of [
      [['fsck', '--check'], BAR, 'nothing is wrong'],
      [['fsck'], BAR, 'nothing is wrong'],
      [['export', file], BAR, 'exported 300 messages'],
      [['export', '--take-back', file], COUNT, 'took back 300 messages'],
      [['delete', '--older-than', '0s'], COUNT, 'deleted 300 messages'],
    ] as const) {
      // A millisecond takes so long there that each of them shows something.
      const env = clock('+0 x1000');
      const terminal = new InTerminal(t, ['queue', ...args, '--spool', road.spool], { env });
      assert.equal((await terminal.program.ended).code, 0, terminal.shown);
      assert.match(terminal.shown, bar, args.join(' '));
      assert.ok(terminal.lines[0]?.startsWith(said), terminal.shown);
    }
  },
);
