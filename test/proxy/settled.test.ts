import assert from 'node:assert/strict';
import test from 'node:test';
import { ControlledRelay, everyone } from '../support/controlled-relay.ts';

test('a proxy that stops waits for its backend, also when the client is gone (law 6)', async (t) => {
  const controlled = new ControlledRelay(t);
  let answer = () => {};
  const asked = new Promise<void>((resolve) => {
    controlled.answer = async (delivery) => {
      resolve();
      await new Promise<void>((answered) => (answer = answered));
      return everyone(delivery, '2.0.0');
    };
  });
  const posted = controlled.post('one', ['a@example.org']);
  await asked;
  let settled = false;
  const waiting = controlled.relay.settled().then(() => (settled = true));
  await new Promise(setImmediate);
  assert.equal(settled, false);
  answer();
  await waiting;
  assert.deepEqual(
    controlled.rows('recipient').map(({ state }) => state),
    ['sent'],
  );
  await posted;
});
