import assert from 'node:assert/strict';
import test from 'node:test';
import { topLines } from '../../src/cli/queue/top-lines.ts';
import { claim } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { record } from '../../src/spool/record.ts';
import { takeSample } from '../../src/spool/samples.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { QueueWatch } from '../../src/watch/queue-watch.ts';
import { etaOf, ratesOf } from '../../src/watch/rates.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handIn } from '../support/hand-in.ts';
import { handOver } from '../support/hand-over.ts';
import { InTerminal } from '../support/in-terminal.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';

const MINUTE = 60_000;

function accept(spool: Spool, count: number): void {
  for (let number = 0; number < count; number += 1) {
    const eximId = `top-${number}-${spool.clock.randomBytes(4).toString('hex')}`;
    enqueue(spool, handOver({ eximId, message: `Subject: ${eximId}\n\n` }), spool.now());
  }
}

/** Claims and ends so many messages. */
function work(spool: Spool, count: number, state: 'sent' | 'pending'): void {
  const room = { messages: count, bytes: 1e9, bypassBytes: 0 };
  const claimed = spool.transaction(() => claim(spool, room, spool.now()));
  const status = state === 'sent' ? '2.0.0' : '4.2.2';
  const last = { lastStatus: status, lastReason: 'the answer', dueAt: spool.now() + 9e6 };
  for (const { seq } of claimed) {
    const verdicts = [{ position: 0, state, status, reason: 'so' }];
    const outcome = { seq, verdicts, charged: true, warnings: 0, ...last };
    spool.transaction(() => record(spool, [outcome], spool.now()));
  }
}

test('rates are those of the last minutes, and tell when the queue will be empty', () => {
  const points = [
    { at: 0, accepted: 0, waiting: 1000 },
    { at: 4 * MINUTE, accepted: 100, waiting: 700 },
    { at: 5 * MINUTE, accepted: 160, waiting: 460 },
  ];
  assert.deepEqual(ratesOf(points, MINUTE), { in: 1, out: 5 });
  assert.equal(ratesOf(points.slice(0, 1), MINUTE), undefined);
  assert.deepEqual(etaOf(460, { in: 1, out: 5 }), { kind: 'in', ms: 115_000 });
  assert.deepEqual(etaOf(460, { in: 5, out: 5 }), { kind: 'never' });
  assert.deepEqual(etaOf(0, undefined), { kind: 'empty' });
});

test('a look has what is in flight, what happened last, and the end by the samples of the last minutes', (t) => {
  const spool = freshSpool(t);
  accept(spool, 40);
  takeSample(spool, spool.now() - 2 * MINUTE, []);
  work(spool, 20, 'sent');
  const watch = new QueueWatch(spool);
  const first = watch.look();
  assert.equal(first.eta.kind, 'in');
  assert.ok(first.eta.kind === 'in' && Math.abs(first.eta.ms - 2 * MINUTE) < 5000);
  assert.equal(first.events.length, 8);
  spool.transaction(() => claim(spool, { messages: 1, bytes: 1e9, bypassBytes: 0 }, spool.now()));
  const [flying] = watch.look().inFlight;
  assert.deepEqual([flying?.recipients, flying?.address], [1, 'r@example.org']);
  spool.db
    .prepare(
      `UPDATE message SET state = 'queued', due_at = 9e15, last_status = '4.2.2', last_reason = 'full' WHERE state = 'sending'`,
    )
    .run();
  spool.db
    .prepare(
      `INSERT INTO history (message, number, at, what, status, reason) SELECT seq, 9, 9e12, 'attempt', '4.2.2', 'full' FROM message WHERE id = ?`,
    )
    .run(flying?.id);
  const [event] = watch.look().events;
  assert.deepEqual([event?.id, event?.state, event?.status], [flying?.id, 'queued', '4.2.2']);
});

test('lines fit into the width, whatever is in them', (t) => {
  const spool = freshSpool(t);
  enqueue(
    spool,
    handOver({ recipients: [`${'x'.repeat(200)}\u001b[2J@example.org`] }),
    spool.now(),
  );
  spool.transaction(() => claim(spool, { messages: 1, bytes: 1e9, bypassBytes: 0 }, spool.now()));
  const lines = topLines(new QueueWatch(spool).look(), {
    width: 80,
    rows: 24,
    order: 'size',
    wallNow: Date.now(),
  });
  for (const line of lines) assert.ok(line.length <= 80 && !line.includes('\u001b'), line);
});

test('queue top --once prints it as plain text', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}]);
  const { code, stdout } = await road.queue('top', '--once');
  assert.equal(code, 0);
  assert.match(stdout.toString(), /^2 queued, 0 sending, 0 held, 0 failed; oldest: /);
  assert.match(stdout.toString(), /drain does not run: nothing leaves the queue/);
});

test(
  'in a terminal queue top shows the queue until q is typed, and leaves the screen as it was',
  needs('debconf'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const terminal = new InTerminal(t, ['queue', 'top', '--spool', road.spool]);
    await terminal.shows(/1 queued/);
    terminal.type('s');
    await terminal.shows(/by size/);
    terminal.type('q');
    assert.equal((await terminal.program.ended).code, 0);
    assert.ok(terminal.shown.endsWith('\u001B[?1049l'), terminal.shown.slice(-40));
  },
);
