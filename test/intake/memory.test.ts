import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { MemoryBudget } from '../../src/intake/memory-budget.ts';
import { figures, LONG } from '../support/figures.ts';
import { Intake, lmtpMail } from '../support/lmtp.ts';
import { Road } from '../support/road.ts';
import { readSpool } from '../support/read-spool.ts';

const MB = 1_000_000;
const CONNECTIONS = LONG ? 30 : 10;

test(
  'law 1, law 3: many messages of 20 MB come at once and are taken, and the server has at most 250 MB',
  { timeout: 300_000 },
  async (t) => {
    const road = new Road(t);
    const server = await Intake.start(t, { folder: road.folder });
    const message = Buffer.alloc(20 * MB, `${'x'.repeat(79)}\n`);
    const data = lmtpMail({ message });
    const clients = await Promise.all(
      Array.from({ length: CONNECTIONS }, async () => server.client()),
    );
    for (const [number, client] of clients.entries()) {
      client.say(`LHLO x\r\nXFORWARD IDENT=large-${number}\r\n`);
      client.say(data);
    }
    await Promise.all(clients.map(async (client) => client.hears(/^250 2\.0\.0 queued/)));
    const status = readFileSync(`/proc/${server.program.child.pid}/status`, 'utf8');
    const peakMB = (Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024) / MB;
    figures(t, 'memory of the LMTP server', { messages: CONNECTIONS, peakMB: Math.round(peakMB) });
    assert.ok(peakMB < 250, `${peakMB}`);
    await server.program.stop();
    const found = readSpool(road.spool);
    assert.equal(found.length, CONNECTIONS);
    for (const { bytes } of found) assert.ok(bytes?.equals(message));
  },
);

test('while memory is short, only the message that began first goes on, and the others in their order', async () => {
  const budget = new MemoryBudget<{ name: string }>(100);
  const [one, two, three] = [{ name: 'one' }, { name: 'two' }, { name: 'three' }];
  budget.hold(one, 60);
  budget.hold(two, 30);
  assert.ok(budget.goesOn(one) && budget.goesOn(two) && budget.goesOn(three));
  budget.hold(two, 50);
  assert.deepEqual([budget.goesOn(one), budget.goesOn(two)], [true, false]);
  const order: string[] = [];
  const waiting = [two].map(async (each) => budget.turn(each).then(() => order.push(each.name)));
  budget.hold(one, 200);
  budget.hold(three, 10);
  waiting.push(budget.turn(three).then(() => order.push('three')));
  await Promise.resolve();
  assert.deepEqual(order, []);
  budget.hold(two, 120);
  budget.hold(one, 0);
  await waiting[0];
  assert.deepEqual(order, ['two']);
  budget.hold(two, 0);
  await Promise.all(waiting);
  assert.deepEqual(order, ['two', 'three']);
});

test('the memory for messages holds less than the largest message: that one is taken alone', () => {
  assert.ok(limits.intakeBytes < limits.messageBytes);
});
