import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import test from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { ControlledDeliverer, everyone } from '../support/controlled-deliverer.ts';

test('a proxy that stops waits for its backend, also when the client is gone (law 6)', async (t) => {
  const controlled = new ControlledDeliverer(t);
  const backend = new EventEmitter();
  controlled.answer = async (delivery) => {
    backend.emit('asked');
    await once(backend, 'answer');
    return everyone(delivery, '2.0.0');
  };
  const asked = once(backend, 'asked');
  const posted = controlled.post('one', ['a@example.org']);
  await asked;
  let settled = false;
  const waiting = controlled.deliverer.settled().then(() => (settled = true));
  await new Promise(setImmediate);
  assert.equal(settled, false);
  backend.emit('answer');
  await waiting;
  assert.deepEqual(
    controlled.rows('recipient').map(({ state }) => state),
    ['sent'],
  );
  await posted;
});

test('an outcome that could not be written gets a last try when the proxy stops, and is not unknown any more (law 6)', async (t) => {
  const controlled = new ControlledDeliverer(t);
  const other = new Database(controlled.file);
  other.exec(
    `CREATE TRIGGER sick BEFORE UPDATE ON recipient BEGIN SELECT raise(ABORT, 'sick'); END`,
  );
  await controlled.post('one', ['a@example.org']);
  assert.match(controlled.journal[0] ?? '', /ledger cannot be written: sick$/);
  other.exec('DROP TRIGGER sick');
  other.close();
  await controlled.deliverer.flush();
  controlled.restart();
  assert.deepEqual(controlled.rows('unknown'), []);
  assert.deepEqual(await controlled.post('one', ['a@example.org']), ['2.0.0 told a@example.org']);
  assert.equal(controlled.calls.length, 1);
});
