import assert from 'node:assert/strict';
import test from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ControlledRelay, everyone } from '../support/controlled-relay.ts';

const a = 'a@example.org';

test('a backend that takes longer than 50 s is told so, and its mail is unknown (law 6)', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const relay = new ControlledRelay(t);
  const asked = new Promise<AbortSignal>((resolve) => {
    relay.answer = async (_, timeUp) => {
      resolve(timeUp);
      return new Promise(() => {});
    };
  });
  const posted = relay.post('id', [a]);
  const timeUp = await asked;
  t.mock.timers.tick(49_999);
  assert.equal(timeUp.aborted, false);
  t.mock.timers.tick(1);
  assert.equal(timeUp.aborted, true);
  assert.deepEqual(await posted, ['4.4.2 the backend took too long']);
  assert.deepEqual(
    relay.rows('unknown').map(({ address }) => address),
    [a],
  );
});

test('a post that is answered holds no memory until its time would be up', async (t) => {
  const relay = new ControlledRelay(t);
  const held: WeakRef<object>[] = [];
  relay.answer = (delivery, timeUp) => {
    held.push(new WeakRef(timeUp), new WeakRef(delivery));
    return Promise.resolve(everyone(delivery, '2.0.0'));
  };
  await relay.post('id', [a]);
  relay.calls.length = 0;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // What a job has looked at lives to its end, and some go a round later.
  for (let rounds = 0; rounds < 5; rounds += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
  assert.deepEqual(
    held.map((each) => each.deref()),
    [undefined, undefined],
  );
});
