import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/host/clock.ts';
import { Alarm } from '../../src/drain/alarm.ts';

const LONG_MS = 3_600_000;

/** What a post takes until it is written: it waits for its bundle, and undici looks at the connection. */
function afterTwoTurns(action: () => void): void {
  setImmediate(() => setImmediate(action));
}

for (const [what, ms, isWoken] of [
  ['woken', LONG_MS, true],
  ['due at once', 0, false],
] as const) {
  test(`a loop that is ${what} goes on when what it has begun to post is written`, async () => {
    const alarm = new Alarm(systemClock);
    let isWritten = false;
    afterTwoTurns(() => {
      isWritten = true;
    });
    if (isWoken) alarm.wake();
    await alarm.wait(ms);
    assert.ok(isWritten);
  });
}

test('a wake while nobody waits is kept, once; one while the loop waits ends that', async () => {
  const alarm = new Alarm(systemClock);
  alarm.wake();
  alarm.wake();
  await alarm.wait(LONG_MS);
  let isOver = false;
  const waiting = (async () => {
    await alarm.wait(LONG_MS);
    isOver = true;
  })();
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(!isOver);
  alarm.wake();
  await waiting;
});
