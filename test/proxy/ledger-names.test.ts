import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import test from 'node:test';
import * as fc from 'fast-check';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { limits } from '../../src/limits.ts';
import { BackendBusyError } from '../../src/proxy/backends/backend.ts';
import { DigestConflictError } from '../../src/proxy/ledger/ledger.ts';
import { migrations } from '../../src/proxy/ledger/sqlite/ledger-schema.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { ControlledDeliverer, everyone, rowsOf } from '../support/controlled-deliverer.ts';
import { holds } from '../support/holds.ts';
import { scratch } from '../support/scratch.ts';

const [a, b] = ['a@example.org', 'b@example.org'] as const;
const day = 86_400_000;

/** Lets what is ready happen. */
async function tick(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('law 6: each host has its own messages, whatever ids it takes, and those of nameless keys are shared', async (t) => {
  const steps = fc.array(
    fc.record({
      key: fc.constantFrom('', 'web1', 'web2'),
      id: fc.constantFrom('one', 'two'),
      bytes: fc.constantFrom('x\n', 'y\n'),
      to: fc.subarray([a, b], { minLength: 1 }),
      refuses: fc.boolean(),
      restarts: fc.boolean(),
    }),
    { maxLength: 30 },
  );
  await holds(
    t,
    fc.asyncProperty(steps, async (posts) => {
      const proxy = new ControlledDeliverer(t);
      const [digests, sent] = [new Map<string, string>(), new Set<string>()];
      for (const { key, id, bytes, to, refuses, restarts } of posts) {
        if (restarts) proxy.restart();
        const before = proxy.calls.length;
        const status = refuses ? '5.1.1' : '2.0.0';
        proxy.answer = (delivery) => Promise.resolve(everyone(delivery, status));
        const own = `${key}/${id}`;
        const isOther = digests.has(own) && digests.get(own) !== bytes;
        const names = digests.get(`/${id}`) === bytes ? [own, `/${id}`] : [own];
        const fresh = to.filter((each) => !names.some((name) => sent.has(`${name} ${each}`)));
        if (isOther) {
          await assert.rejects(proxy.post(id, to, bytes, key), DigestConflictError);
          assert.equal(proxy.calls.length, before);
          continue;
        }
        const verdicts = await proxy.post(id, to, bytes, key);
        const expected = to.map(
          (each) => `${fresh.includes(each) ? status : '2.0.0'} told ${each}`,
        );
        assert.deepEqual(verdicts, expected);
        assert.deepEqual(
          proxy.calls.slice(before).map(({ recipients }) => recipients),
          fresh.length > 0 ? [fresh] : [],
        );
        if (fresh.length > 0) digests.set(own, bytes);
        if (!refuses) for (const each of fresh) sent.add(`${own} ${each}`);
        const asked = (await proxy.ask(id, to, key)).map((each) => each.slice(0, 5));
        assert.deepEqual(
          asked,
          to.map((each) => (sent.has(`${own} ${each}`) ? '2.0.0' : '4.4.2')),
        );
      }
    }),
    60,
  );
});

test('law 6: a message that is being sent when its key is given a name is not sent twice', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const backend = new AbortController();
  proxy.answer = async (delivery) => {
    await once(backend.signal, 'abort');
    return delivery.recipients.map((recipient) => {
      const status = recipient === a ? '2.0.0' : '5.1.1';
      return { recipient, status, reason: `told ${recipient}` };
    });
  };
  const nameless = proxy.post('id', [a, b]);
  while (proxy.calls.length < 1) await tick();
  const named = proxy.post('id', [a, b], 'x\n', 'web1');
  const other = proxy.post('id', [a], 'other\n', 'web2');
  while (proxy.calls.length < 2) await tick();
  assert.deepEqual(proxy.calls[1]?.key, 'web2', 'other bytes wait for nothing');
  backend.abort();
  assert.deepEqual(await nameless, [`2.0.0 told ${a}`, `5.1.1 told ${b}`]);
  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  // A refusal may have been for another host: the message is sent for this one.
  assert.match((await named)[0] ?? '', /^2\.0\.0 /);
  assert.deepEqual(proxy.calls[2]?.recipients, [b]);
  assert.deepEqual(await other, [`2.0.0 told ${a}`]);
  assert.equal(proxy.calls.length, 3);
});

test('a post that waits in vain for a delivery of its key without a name is told to come later: nothing was begun', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const proxy = new ControlledDeliverer(t);
  proxy.answer = () => new Promise(() => {});
  void proxy.post('id', [a]).catch(() => {});
  while (proxy.calls.length < 1) await tick();
  const named = proxy.post('id', [a], 'x\n', 'web1');
  const told = assert.rejects(named, BackendBusyError);
  await tick();
  t.mock.timers.tick(limits.answerMs - limits.roomMarginMs);
  await told;
  assert.equal(proxy.calls.length, 1);
});

test('law 6: a ledger from before keys had names still knows what it sent, for nameless and for named keys', async (t) => {
  const file = join(scratch(t), 'ledger.db');
  const old = openDatabase(file, {
    name: 'ledger',
    migrations: migrations.slice(0, 3),
    migrate: true,
    create: true,
  });
  old.exec(`INSERT INTO message (id, digest, at) VALUES ('id', x'${'07'.repeat(32)}', 2592000000);
    INSERT INTO recipient VALUES ('id', '${a}', 'sent', '2.0.0', 'ok')`);
  old.close();
  const digest = Buffer.alloc(32, 7);
  const ledger = new SqliteLedger(file);
  const known = { status: '2.0.0', reason: 'ok' };
  for (const key of ['', 'web1']) {
    assert.deepEqual(await ledger.known({ key, id: 'id' }, [a, b], digest), new Map([[a, known]]));
  }
  const other = Buffer.alloc(32, 8);
  assert.deepEqual(await ledger.known({ key: 'web1', id: 'id' }, [a], other), new Map());
  assert.deepEqual(
    await ledger.known({ key: 'web1', id: 'id' }, [a]),
    new Map(),
    'without bytes: nothing',
  );
  await assert.rejects(ledger.known({ key: '', id: 'id' }, [a], other), DigestConflictError);
  ledger.prune(ledger.now() + 29 * day);
  assert.equal((await ledger.known({ key: 'web1', id: 'id' }, [a], digest)).size, 1);
  ledger.prune(ledger.now() + 31 * day);
  assert.equal((await ledger.known({ key: 'web1', id: 'id' }, [a], digest)).size, 0);
  ledger.close();
  const open = () =>
    openDatabase(file, {
      name: 'ledger',
      migrations: migrations.slice(0, 3),
      migrate: true,
      create: true,
    });
  assert.throws(open, /was written by a newer appengine-mailer/, 'it would send again');
});

test('law 6: after damage, messages that were posted without a name are suspect for a named key as well', async (t) => {
  const file = join(scratch(t), 'ledger.db');
  new SqliteLedger(file).close();
  const repaired = openDatabase(file, {
    name: 'ledger',
    migrations,
    migrate: true,
    create: false,
  });
  // As rebuildLedger leaves them.
  repaired.exec(`INSERT INTO message (id, digest, at, doubtful) VALUES ('lost', zeroblob(32), 2592000000, 1);
    INSERT INTO recipient VALUES ('lost', '${a}', 'sent', '2.0.0', 'ok');
    INSERT INTO gap VALUES ('m', 'n', 2592000000)`);
  repaired.close();
  const ledger = new SqliteLedger(file);
  const digest = Buffer.alloc(32, 7);
  for (const id of ['lost', 'm1', 'sound']) {
    const message = { key: 'web1', id };
    assert.equal(
      (await ledger.known(message, [a], digest)).size,
      0,
      'it may be the message of another host',
    );
    await ledger.begin(message, digest, [a]);
  }
  ledger.close();
  assert.deepEqual(
    rowsOf(file, 'unknown').map(({ message }) => message),
    ['web1/lost', 'web1/m1'],
  );
});
