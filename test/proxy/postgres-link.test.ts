import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock, type Clock } from '../../src/host/clock.ts';
import { PostgresLink } from '../../src/proxy/ledger/postgres/postgres-link.ts';
import type { PostgresSession } from '../../src/proxy/ledger/postgres/postgres-session.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';

/** Its timers are due at once. */
const quick: Clock = { ...systemClock, timer: (_, callback) => systemClock.timer(0, callback) };

/** A session that answers every statement, and notes what was withdrawn by it. */
class FakeSession {
  readonly owner = 1;
  readonly withdrawn: string[] = [];
  readonly lost: Promise<Error>;
  end: (reason: Error) => void = () => {};
  asked = () => {};

  constructor() {
    this.lost = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  async query(task: string, _: unknown, [, names]: [number, string[]]): Promise<unknown[]> {
    if (task === 'settle') this.withdrawn.push(...names);
    this.asked();
    return Promise.resolve([]);
  }
}

function linkOf(session: FakeSession, reopen: () => Promise<FakeSession>): PostgresLink {
  return new PostgresLink({
    name: 'postgres:',
    clock: quick,
    journal: proxyJournal(() => {}),
    session: session as unknown as PostgresSession,
    reopen: async () => (await reopen()) as unknown as PostgresSession,
    notified: () => {},
  });
}

test('a connection that was opened again while the proxy ended is closed', async () => {
  const [first, second] = [new FakeSession(), new FakeSession()];
  const link = linkOf(first, async () => {
    await link.close();
    return second;
  });
  first.end(new Error('cut off'));
  assert.equal((await second.lost).message, 'the proxy has ended');
  assert.equal(link.session, undefined);
});

test('law 6: what is to be withdrawn at any moment before a proxy is back is withdrawn', async () => {
  for (let steps = 0; steps < 12; steps += 1) {
    const [first, second] = [new FakeSession(), new FakeSession()];
    const link = linkOf(first, async () => Promise.resolve(second));
    const late = new Promise<string[]>((resolve) => {
      second.asked = () => {
        second.asked = () => {};
        void (async () => {
          for (let step = 0; step < steps; step += 1) await Promise.resolve();
          if (link.session) return resolve([]);
          link.withdrawLater({ name: 'late', addresses: ['a@example.org'] });
          return resolve(['late']);
        })();
      };
    });
    link.withdrawLater({ name: 'early', addresses: ['a@example.org'] });
    first.end(new Error('cut off'));
    const withdrawn = ['early', ...(await late)];
    while (!link.session) await new Promise(setImmediate);
    assert.deepEqual(second.withdrawn, withdrawn, `after ${steps} steps`);
    await link.close();
  }
});
