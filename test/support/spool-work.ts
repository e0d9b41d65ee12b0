import assert from 'node:assert/strict';
import { limits } from '../../src/limits.ts';
import { readSmallBodies } from '../../src/spool/body.ts';
import { catchUp } from '../../src/spool/catch-up.ts';
import { claim, nextDueAt, recoverClaimed } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { findMessages, listMessages } from '../../src/spool/list.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { handOver } from './hand-over.ts';

/**
 * What a spool of fillSpool does for one message, or for as many as drain claims at once. `nth` is another
 * number each time; there are so many messages at least.
 */
export const spoolWork = {
  enqueue: (spool, nth, now) => enqueue(spool, handOver({ eximId: `more-${nth}` }), now),
  'enqueue again': (spool, nth, now) => enqueue(spool, handOver({ eximId: `many-${nth}` }), now),
  'claim, read and record': (spool, _nth, now) => {
    const room = { messages: limits.turnMessages, bytes: limits.inFlightBytes, bypassBytes: 0 };
    const claimed = spool.transaction(() => claim(spool, room, now));
    assert.equal(claimed.length, limits.turnMessages);
    assert.equal(readSmallBodies(spool, claimed).size, limits.turnMessages);
    const verdict = { position: 0, state: 'sent', status: '2.0.0', reason: 'ok' } as const;
    const rest = { charged: true, warnings: 0, dueAt: now, lastStatus: '2.0.0', lastReason: 'ok' };
    const outcomes = claimed.map(({ seq }) => ({ seq, verdicts: [verdict], ...rest }));
    spool.transaction(() => record(spool, outcomes, now));
  },
  'look when the next is due': (spool) => nextDueAt(spool),
  'start of drain': (spool, _nth, now) => {
    catchUp(spool, now, Date.now(), limits.messageMaxMs);
    recoverClaimed(spool, now);
  },
  stats: (spool) => stats(spool),
  'first page of list': (spool, _nth, now) => listMessages(spool, {}, now).next(),
  find: (spool, nth, now) => findMessages(spool, `many-${nth}`, now),
  'hold and release': (spool, nth, now) => {
    const [{ id } = { id: '' }] = findMessages(spool, `many-${nth}`, now);
    assert.equal(operate(spool, id, { verb: 'hold', now }), 'done');
    assert.equal(operate(spool, id, { verb: 'release', now }), 'done');
  },
} satisfies Record<string, (spool: Spool, nth: number, now: number) => unknown>;
