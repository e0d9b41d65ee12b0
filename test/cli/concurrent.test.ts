import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test('operators at work beside a busy drain: none lost, none to two places, and it adds up (law 6, law 7, law 8)', async (t) => {
  const road = new Road(t);
  const taken = join(road.folder, 'taken');
  const exim = join(road.folder, 'exim4');
  const bt = `[ "$1" = -bt ] && { echo '> a@b'; exit 0; }`;
  writeFileSync(exim, `#!/bin/sh\n${bt}\nexec cat >>'${taken}'\n`);
  writeFileSync(taken, '');
  chmodSync(exim, 0o755);

  // Of the three recipients of each message one is taken, one put off once, one refused once.
  const names = ['now', 'later', 'refused'];
  const recipientsOf = (nth: number) => names.map((name) => `${name}${nth}@example.org`);
  const ids = handIn(
    road.spool,
    Array.from({ length: 60 }, (_, nth) => ({ recipients: recipientsOf(nth) })),
  );
  const posted = new Set<string>();
  const accepted: string[] = [];
  const proxy = await ScriptedProxy.start(t, road.key, async (post) => {
    await sleep(50); // So that some are being sent whenever an operator looks.
    post.answer((recipient) => {
      const again = posted.has(recipient);
      posted.add(recipient);
      if (recipient.startsWith('later') && !again) return { status: '4.2.2', reason: 'full' };
      if (recipient.startsWith('refused') && !again) return { status: '5.1.1', reason: 'no' };
      accepted.push(recipient);
      return { status: '2.0.0', reason: 'ok' };
    });
  });
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  const operator = async (...commands: string[][]) => {
    for (const args of commands) {
      const { code, stderr } = await road.queue(...args);
      assert.ok(code === 0 || code === 1, `${args[0]}: ${code} ${stderr}`);
    }
  };
  const back = (from: number, to: number) => ['return', ...ids.slice(from, to), '--exim', exim];
  await Promise.all([
    operator(['hold', '--all'], ['release', '--all'], ['retry', '--all'], ['hold', '--all']),
    operator(back(0, 10), ['bounce', ...ids.slice(5, 20)], back(15, 25), ['release', '--all']),
    operator(
      ['delete', ...ids.slice(20, 30)],
      ['retry', '--all'],
      ['bounce', ...ids.slice(28, 35)],
    ),
  ]);
  await drain.stop();

  const { messages, counters } = lookInto(road.spool); // Adds up, or fails.
  assert.deepEqual([counters.accepted, counters.sending], [60, 0]);
  const recipients = messages.flatMap((message) => message.recipients);
  assert.deepEqual(
    recipients.map(({ address }) => address),
    ids.flatMap((_, nth) => recipientsOf(nth)),
  );
  const inState = (state: string) =>
    recipients.filter((each) => each.state === state).map(({ address }) => address);

  assert.equal(new Set(accepted).size, accepted.length, 'what was sent is not sent again');
  assert.deepEqual(inState('sent').toSorted(), accepted.toSorted());
  const returned = [...readFileSync(taken, 'utf8').matchAll(/^RCPT TO:<(.*)>$/gm)].map(
    ([, to]) => to,
  );
  assert.equal(
    new Set(returned).size,
    returned.length,
    'and what Exim has is not given to it again',
  );
  const deleted = new Set(inState('deleted'));
  assert.deepEqual(
    returned.filter((to) => !deleted.has(to ?? '')),
    [],
  );
  for (const { state, recipients: each } of messages) {
    const waits = each.some((recipient) => recipient.state === 'pending');
    assert.equal(waits, state === 'queued' || state === 'held', 'who is pending is in the queue');
  }
  t.diagnostic(`${accepted.length} sent, ${returned.length} returned, ${JSON.stringify(counters)}`);
});
