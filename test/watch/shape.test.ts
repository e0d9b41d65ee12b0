import assert from 'node:assert/strict';
import test from 'node:test';
import { queueShape } from '../../src/watch/shape.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { figures, LONG } from '../support/figures.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handIn } from '../support/hand-in.ts';
import { handOver } from '../support/hand-over.ts';
import { Road } from '../support/road.ts';

const MINUTE = 60_000;

test('queue shape shows the recipients that wait by age and domain, as qshape does, in 80 columns', async (t) => {
  const road = new Road(t);
  const now = Date.now();
  const mail = (ago: number, ...recipients: string[]) =>
    handIn(road.spool, [{ recipients, sender: 'a@sender.example' }], {
      queuedAt: now - ago * MINUTE,
    });
  mail(1, 'a@example.org', 'b@EXAMPLE.org', 'c@other.example');
  mail(7, 'a@example.org');
  mail(1279, 'a@example.org');
  mail(3000, `a@${'long-'.repeat(20)}.example`);
  const { stdout } = await road.queue('shape');
  const lines = stdout.toString().split('\n');
  const line = (name: string) => lines.find((each) => each.startsWith(name))?.split(/\s+/);
  assert.deepEqual(line('TOTAL'), 'TOTAL 6 3 1 0 0 0 0 0 0 1 1'.split(' '));
  assert.deepEqual(line('example.org'), 'example.org 4 2 1 0 0 0 0 0 0 1 0'.split(' '));
  assert.match(stdout.toString(), /^ +below 5 +3 #{50}$/m);
  for (const each of lines) assert.ok(each.length <= 80, each);
  const { stdout: json } = await road.queue('shape', '--json', '--senders');
  const { by, rows } = JSON.parse(json.toString()) as {
    by: string;
    rows: { name: string; total: number }[];
  };
  assert.equal(by, 'senders');
  assert.deepEqual(
    rows.map(({ name, total }) => [name, total]),
    [['sender.example', 6]],
  );
});

test('hostile domains are printed as text, and are few', (t) => {
  const spool = freshSpool(t);
  const recipients = ['a@\u001b[31mred', 'b@x\u202ey', '@', 'no domain'];
  enqueue(spool, handOver({ recipients, sender: '' }), spool.now());
  const names = queueShape(spool, 'recipients', Date.now()).rows.map(({ name }) => name);
  assert.deepEqual(names.toSorted(), ['', '\u001b[31mred', 'no domain', 'x\u202ey']);
  assert.equal(queueShape(spool, 'senders', Date.now()).rows[0]?.name, '<>');
});

test('the shape of a million messages takes seconds', (t) => {
  const spool = freshSpool(t);
  const rows = LONG ? 1_000_000 : 30_000;
  fillSpool(spool, rows, { now: Date.now() });
  const began = performance.now();
  assert.equal(queueShape(spool, 'recipients', Date.now()).total.total, rows);
  const tookMs = performance.now() - began;
  figures(t, 'queue shape', { messages: rows, tookMs: Math.round(tookMs) });
  assert.ok(tookMs < 20_000, `${tookMs}`);
});
