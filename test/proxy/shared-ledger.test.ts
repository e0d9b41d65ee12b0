import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/host/clock.ts';
import {
  BackendUnavailableError,
  unlimited,
  type Delivery,
  type Result,
} from '../../src/proxy/backends/backend.ts';
import { Deliverer } from '../../src/proxy/deliverer.ts';
import { OWNERS } from '../../src/proxy/ledger/postgres/advisory-locks.ts';
import { openPostgresLedger } from '../../src/proxy/ledger/postgres/open-postgres-ledger.ts';
import { PostgresLostError } from '../../src/proxy/ledger/postgres/postgres-error.ts';
import type { PostgresLedger } from '../../src/proxy/ledger/postgres/postgres-ledger.ts';
import { sql } from '../../src/proxy/ledger/postgres/statements.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import { until } from '../support/until.ts';

const [a, b] = ['a@example.org', 'b@example.org'] as const;

/** A proxy without HTTP: a deliverer with its own connection to the shared ledger. */
class Proxy {
  readonly calls: Delivery[] = [];
  readonly journal: string[] = [];
  readonly ledger: PostgresLedger;
  readonly deliverer: Deliverer;
  readonly stop = new AbortController();
  status = '2.0.0';
  /** Its backend answers when this aborts. */
  backend = AbortSignal.abort();

  private constructor(ledger: PostgresLedger, lines: string[]) {
    this.ledger = ledger;
    this.journal = lines;
    const journal = proxyJournal(({ text }) => lines.push(text));
    this.deliverer = new Deliverer({
      ledger,
      backend: unlimited(async (delivery) => this.#send(delivery)),
      policy: (delivery) => delivery,
      journal,
      recipientsMax: 100,
    });
    void ledger.tend(journal, this.stop.signal);
  }

  static async start(
    t: TestContext,
    url: string,
    { takeOverMs = 400, clock = systemClock }: { takeOverMs?: number; clock?: Clock } = {},
  ): Promise<Proxy> {
    const lines: string[] = [];
    const journal = proxyJournal(({ text }) => lines.push(text));
    const ledger = await openPostgresLedger(url, { journal, takeOverMs, clock });
    const proxy = new Proxy(ledger, lines);
    t.after(async () => {
      proxy.stop.abort();
      await ledger.close();
    });
    return proxy;
  }

  async post(id: string, recipients: string[], waitMs?: number): Promise<string[]> {
    const envelope = { sender: '', recipients };
    const message = { key: 'web1', id, envelope, bytes: Buffer.from('x\n') };
    const verdicts = await this.deliverer.send(message, waitMs);
    return verdicts.map(({ status, reason }) => `${status} ${reason}`);
  }

  async ask(id: string, recipients: string[], waitMs?: number): Promise<string[]> {
    const verdicts = await this.deliverer.ask({ key: 'web1', id }, recipients, waitMs);
    return verdicts.map(({ status, reason }) => `${status} ${reason}`);
  }

  async isBack(): Promise<void> {
    await until(
      () => this.journal.some((line) => line.includes('is back after')),
      () => `not back: ${this.journal.join('; ')}`,
    );
  }

  async #send(delivery: Delivery): Promise<Result[]> {
    this.calls.push(delivery);
    if (!this.backend.aborted) await once(this.backend, 'abort');
    const { status } = this;
    if (status === 'down') throw new BackendUnavailableError('no network');
    return delivery.recipients.map((recipient) => ({ recipient, status, reason: 'told' }));
  }
}

/** A database of its own for each test. */
let count = 0;
let server: PostgresServer;

async function twoProxies(t: TestContext, options?: { takeOverMs?: number }) {
  count += 1;
  const database = `shared${count}`;
  const url = await server.database(database);
  // A user of its own, so that it alone can be cut off.
  const user = `first${count}`;
  await server.query(`CREATE ROLE ${user} LOGIN SUPERUSER`);
  const one = await Proxy.start(t, url.replace('ledger@', `${user}@`), options);
  const two = await Proxy.start(t, url, options);
  const query = async <Row extends Record<string, unknown>>(text: string) =>
    server.query<Row>(text, [], database);
  /** Ends the connections of `one`, and lets it have no others. */
  const cutOff = async () => {
    await query(`ALTER ROLE ${user} NOLOGIN`);
    await query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${user}'`);
  };
  const letBack = async () => query(`ALTER ROLE ${user} LOGIN`);
  return { one, two, query, cutOff, letBack };
}

/** Posts at a proxy whose backend has the message, and keeps it until `answer` is called. */
async function beginAt(proxy: Proxy, recipients: string[]) {
  const backend = new AbortController();
  proxy.backend = backend.signal;
  const first = proxy.post('id', recipients);
  await until(
    () => proxy.calls.length > 0,
    () => 'no call',
  );
  return { first, answer: () => backend.abort() };
}

test('proxies with one ledger', needs('postgres'), async (t) => {
  server = await PostgresServer.start(t, { settings: { fsync: 'off' } });

  for (const status of ['2.0.0', '4.2.2', '5.1.1']) {
    await t.test(
      `law 6: the same post at two proxies at once is sent once, and both get ${status}`,
      async (inner) => {
        const { one, two } = await twoProxies(inner);
        const backend = new AbortController();
        for (const each of [one, two]) Object.assign(each, { status, backend: backend.signal });
        const posts = [one.post('id', [a, b]), two.post('id', [a, b])];
        await until(
          () => one.calls.length + two.calls.length > 0,
          () => 'no call',
        );
        backend.abort();
        const verdict = `${status} told`;
        assert.deepEqual(await Promise.all(posts), [
          [verdict, verdict],
          [verdict, verdict],
        ]);
        const recipients = [...one.calls, ...two.calls].flatMap((call) => call.recipients);
        assert.deepEqual(recipients.toSorted(), [a, b]);
      },
    );
  }

  await t.test(
    'a post and an ask at another proxy wait, are answered in progress, and find the result',
    async (inner) => {
      const { one, two } = await twoProxies(inner);
      const { first, answer } = await beginAt(one, [a]);
      const inProgress = ['4.4.0 it is still being sent'];
      assert.deepEqual(await two.post('id', [a], 200), inProgress);
      assert.deepEqual(await two.ask('id', [a], 200), inProgress);
      const [asked, posted] = [two.ask('id', [a, b]), two.post('id', [a])];
      setTimeout(() => answer(), 50);
      const began = performance.now();
      assert.deepEqual(await first, ['2.0.0 told']);
      assert.deepEqual(await asked, [
        '2.0.0 told',
        '4.4.2 the proxy does not know whether it was sent',
      ]);
      assert.deepEqual(await posted, ['2.0.0 told']);
      inner.diagnostic(`told after ${Math.round(performance.now() - began - 50)} ms`);
      assert.equal(two.calls.length, 0);
    },
  );

  await t.test(
    'recipients of one post that another proxy has begun are waited for, and the others are sent',
    async (inner) => {
      const { one, two } = await twoProxies(inner);
      const { first, answer } = await beginAt(one, [a]);
      const second = two.post('id', [a, b]);
      await until(
        () => two.calls.length > 0,
        () => 'no call',
      );
      answer();
      await first;
      assert.deepEqual(await second, ['2.0.0 told', '2.0.0 told']);
      assert.deepEqual(
        two.calls.map(({ recipients }) => recipients),
        [[b]],
      );
    },
  );

  await t.test(
    'law 6, law 7: what a proxy has begun that was cut off is listed once after --take-over, and sent again',
    async (inner) => {
      const { one, two, query, cutOff, letBack } = await twoProxies(inner);
      const { first, answer } = await beginAt(one, [a, b]);
      const second = two.post('id', [a, b]);
      await cutOff();
      assert.deepEqual(
        await two.post('id', [a], 50),
        ['4.4.0 it is still being sent'],
        'not at once',
      );
      for (const told of await second)
        assert.match(told, /^4\.4\.2 the proxy that was sending it ended/);
      const unknown = async () => query('SELECT message, address FROM unknown ORDER BY address');
      const listed = [a, b].map((address) => ({ message: 'web1/id', address }));
      assert.deepEqual(await unknown(), listed);
      await until(
        () => two.journal.some((line) => line.includes('it cannot be known whether this was sent')),
        () => two.journal.join('\n'),
      );
      assert.deepEqual(await two.post('id', [a, b]), ['2.0.0 told', '2.0.0 told']);

      // It wakes up: the backend took the message, and the ledger has another's result.
      one.status = '5.0.0';
      const lost: string[][] = [];
      const settle = one.ledger.settle.bind(one.ledger);
      inner.mock.method(one.ledger, 'settle', async (...args: Parameters<typeof settle>) => {
        const result = await settle(...args);
        if (args[0].id === 'id') lost.push(result);
        return result;
      });
      answer();
      assert.deepEqual(
        await first,
        ['5.0.0 told', '5.0.0 told'],
        'its own client hears what happened',
      );
      await assert.rejects(one.post('new', [a]), /there is no connection to the server/);
      assert.equal(one.calls.length, 1, 'it begins nothing');
      await letBack();
      await one.isBack();
      assert.ok(
        one.journal.some((line) => line.includes('have listed as unknown')),
        one.journal.join('\n'),
      );
      assert.deepEqual(await one.post('new', [a]), ['5.0.0 told']);
      await until(
        () => lost.length > 0,
        () => 'it does not settle',
      );
      assert.deepEqual(lost, [[]], 'it is known that they were sent');
      assert.deepEqual(await unknown(), listed, 'once');
      const states = await query(`SELECT state, status FROM recipient WHERE message = 'web1/id'`);
      const settled = { state: 'sent', status: '2.0.0' };
      assert.deepEqual(states, [settled, settled], 'nothing is overwritten');
    },
  );

  await t.test(
    'law 6, law 7: what a suspended proxy has begun, whose connections stay, is listed once; it overwrites nothing when it wakes up',
    async (inner) => {
      const { one, two, query } = await twoProxies(inner);
      const { first, answer } = await beginAt(one, [a]);
      one.stop.abort(); // It looks no more.
      const [told = ''] = await two.post('id', [a]);
      assert.match(
        told,
        /^4\.4\.2 the proxy that was sending it ended, was cut off or was suspended/,
      );
      assert.deepEqual(await two.post('id', [a]), ['2.0.0 told']);
      one.status = '5.0.0';
      answer();
      assert.deepEqual(await first, ['5.0.0 told'], 'its own client hears what happened');
      await assert.rejects(one.post('new', [b]), /another proxy has taken this one for dead/);
      assert.equal(one.calls.length, 1, 'it begins nothing as the one that was taken for dead');
      await one.isBack();
      assert.deepEqual(await one.post('new', [b]), ['5.0.0 told']);
      const states = await query(`SELECT state, status FROM recipient WHERE message = 'web1/id'`);
      assert.deepEqual(states, [{ state: 'sent', status: '2.0.0' }], 'nothing is overwritten');
      assert.deepEqual(
        await query('SELECT message, address FROM unknown'),
        [{ message: 'web1/id', address: a }],
        'once',
      );
    },
  );

  for (const isCutOff of [true, false]) {
    await t.test(
      `law 6: what a proxy has sent that was taken for dead is not sent again, ${isCutOff ? 'when it is back' : 'where its connections stay'}`,
      async (inner) => {
        const { one, two, query, cutOff, letBack } = await twoProxies(inner);
        const { first, answer } = await beginAt(one, [a]);
        if (isCutOff) await cutOff();
        else one.stop.abort(); // It looks no more.
        const [told = ''] = await two.post('id', [a]);
        assert.match(told, /^4\.4\.2 the proxy that was sending it ended/);
        answer();
        assert.deepEqual(await first, ['2.0.0 told']);
        if (isCutOff) await letBack();
        const sent = `SELECT FROM recipient WHERE message = 'web1/id' AND state = 'sent'`;
        await until(
          async () => (await query(sent)).length > 0,
          () => one.journal.join('\n'),
        );
        assert.deepEqual(await two.post('id', [a]), ['2.0.0 told']);
        assert.equal(two.calls.length, 0, 'it was sent before');
        assert.deepEqual(await query('SELECT FROM unknown'), [], 'it is known');
        // The same once more, as when the answer to the statement was lost.
        const settled = { address: a, kind: 'sent', status: '2.0.0', reason: 'told' } as const;
        assert.deepEqual(await two.ledger.settle({ key: 'web1', id: 'id' }, [settled]), []);
        assert.deepEqual(await query('SELECT FROM unknown'), []);
        assert.doesNotMatch(one.journal.join('\n'), /it cannot be known/);
      },
    );
  }

  await t.test(
    'law 6: what another proxy has begun is not settled by the one that was taken for dead',
    async (inner) => {
      const { one, two, query } = await twoProxies(inner);
      const { first, answer } = await beginAt(one, [a]);
      one.stop.abort();
      await two.post('id', [a]);
      const backend = new AbortController();
      Object.assign(two, { status: '5.1.1', backend: backend.signal });
      const second = two.post('id', [a]);
      await until(
        () => two.calls.length > 0,
        () => 'no call',
      );
      answer();
      assert.deepEqual(await first, ['2.0.0 told']);
      const states = async () => query('SELECT state, status FROM recipient');
      assert.deepEqual(await states(), [{ state: 'begun', status: null }]);
      backend.abort();
      assert.deepEqual(await second, ['5.1.1 told']);
      assert.deepEqual(await states(), [{ state: 'ended', status: '5.1.1' }]);
      assert.equal((await query('SELECT FROM unknown')).length, 1, 'it stays listed');
    },
  );

  await t.test(
    'one look adds at most half of --take-over to the time for which another proxy was silent',
    async (inner) => {
      const { one, two, query } = await twoProxies(inner, { takeOverMs: 60_000 });
      const { first, answer } = await beginAt(one, [a]);
      const missing = async () => query('SELECT missing_ms::integer AS ms FROM owner ORDER BY ms');
      // As a proxy with --take-over 1s looks after it stood still for 5 s.
      const [looker] = await query<{ number: number }>(
        'SELECT number FROM owner WHERE number NOT IN (SELECT owner FROM recipient)',
      );
      const [clock] = await query<{ looks: string }>('SELECT looks FROM clock');
      const values = [clock?.looks, 5000, 0, looker?.number, 1000, 'silent'];
      await server.query(sql.look.text, values, `shared${count}`);
      assert.deepEqual(await missing(), [{ ms: 0 }, { ms: 500 }]);
      answer();
      assert.deepEqual(await first, ['2.0.0 told']);
      assert.equal(two.calls.length, 0);
    },
  );

  await t.test(
    'law 6: a proxy begins nothing while a look is taking it for dead',
    async (inner) => {
      const { one, query } = await twoProxies(inner, { takeOverMs: 60_000 });
      const taken = query('BEGIN; DELETE FROM owner; SELECT pg_sleep(0.5); COMMIT');
      const sleeper = `FROM pg_stat_activity WHERE wait_event = 'PgSleep'
        AND datname = current_database()`;
      await untilRows(query, `SELECT pid ${sleeper}`);
      await assert.rejects(one.post('id', [a]), /another proxy has taken this one for dead/);
      await taken;
      assert.deepEqual([one.calls.length, await query('SELECT FROM recipient')], [0, []]);
    },
  );

  await t.test(
    'a post of which a part was sent is answered when the database is lost while it waits for another proxy',
    async (inner) => {
      const { one, two } = await twoProxies(inner, { takeOverMs: 60_000 });
      const { first, answer } = await beginAt(one, [a]);
      inner.mock.method(two.ledger, 'outcomes', async () =>
        Promise.reject(new PostgresLostError('cut off')),
      );
      assert.deepEqual(await two.post('id', [a, b]), [
        '4.4.0 it is still being sent',
        '2.0.0 told',
      ]);
      await assert.rejects(two.post('id', [a]), /cut off/, 'nothing of it was sent');
      answer();
      assert.deepEqual(await first, ['2.0.0 told']);
    },
  );

  await t.test(
    'a proxy that stands still and sends nothing is not taken for dead',
    async (inner) => {
      const { one, two, query } = await twoProxies(inner);
      one.stop.abort();
      const silent = async () => query('SELECT FROM owner WHERE missing_ms > 800');
      await until(
        async () => (await silent()).length > 0,
        () => 'nobody counts',
      );
      assert.deepEqual(await one.post('id', [a]), ['2.0.0 told']);
      assert.deepEqual(await two.post('id', [a]), ['2.0.0 told']);
      assert.equal(two.calls.length, 0);
    },
  );

  await t.test('a proxy that was taken for dead finds that out by its next look', async (inner) => {
    const { one, query } = await twoProxies(inner, { takeOverMs: 2000 });
    await query(`DELETE FROM owner`);
    await one.isBack();
    assert.ok(one.journal.some((line) => line.includes('has taken this one for dead')));
  });

  await t.test(
    'law 7: what was begun for a proxy that was taken for dead meanwhile is listed by the next look',
    async (inner) => {
      const { two, query } = await twoProxies(inner);
      await two.post('id', [a]);
      await query(`INSERT INTO recipient (message, address, state, owner)
        VALUES ('web1/id', '${b}', 'begun', (SELECT max(number) + 1 FROM owner))`);
      await until(
        async () => (await query('SELECT FROM unknown')).length > 0,
        () => 'it stays begun',
      );
      assert.deepEqual(await two.post('id', [b]), ['2.0.0 told']);
      assert.equal((await query('SELECT FROM unknown')).length, 1, 'once');
    },
  );

  await t.test('law 6: a database that has lost its last commits is told', async (inner) => {
    const { one, query } = await twoProxies(inner);
    const looks = async () => (await query<{ looks: string }>('SELECT looks FROM clock'))[0]?.looks;
    await until(
      async () => Number(await looks()) > 5,
      () => 'no looks',
    );
    await query('UPDATE clock SET looks = 1, observed_ms = observed_ms - 7200000');
    await until(
      () =>
        one.journal.some((line) =>
          /has lost at least the last 2 h: .*synchronous_standby_names/.test(line),
        ),
      () => one.journal.join('\n'),
    );
  });

  await t.test(
    'a proxy that is back before --take-over settles what it sent meanwhile',
    async (inner) => {
      const { one, two, query, cutOff, letBack } = await twoProxies(inner, { takeOverMs: 60_000 });
      const { first, answer } = await beginAt(one, [a]);
      await cutOff();
      answer();
      assert.deepEqual(await first, ['2.0.0 told']);
      const second = two.post('id', [a]);
      await letBack();
      assert.deepEqual(await second, ['2.0.0 told'], 'it waits for the first');
      assert.deepEqual([two.calls.length, await query('SELECT FROM unknown')], [0, []]);
      assert.ok(one.journal.some((line) => /is back after \d+ s$/.test(line)));
    },
  );

  await t.test(
    'law 6, law 7: what a proxy could not withdraw while it was cut off is withdrawn when it is back',
    async (inner) => {
      const { one, two, query, cutOff, letBack } = await twoProxies(inner, { takeOverMs: 60_000 });
      const backend = new AbortController();
      Object.assign(one, { status: 'down', backend: backend.signal });
      const first = one.post('id', [a]);
      await until(
        () => one.calls.length > 0,
        () => 'no call',
      );
      await cutOff();
      backend.abort();
      await assert.rejects(first, /the ledger cannot be written/);
      await letBack();
      await one.isBack();
      assert.deepEqual(await two.post('id', [a], 2_000), ['2.0.0 told']);
      assert.deepEqual([two.calls.length, await query('SELECT FROM unknown')], [1, []]);
    },
  );

  await t.test(
    'law 6, law 7: what the server could not withdraw is withdrawn by the next session',
    async (inner) => {
      const { one, two, query } = await twoProxies(inner, { takeOverMs: 60_000 });
      await query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$`);
      await query(`CREATE TRIGGER refuse BEFORE UPDATE ON recipient
        FOR EACH ROW EXECUTE FUNCTION refuse()`);
      one.status = 'down';
      await assert.rejects(one.post('id', [a]), /no room/);
      await query('DROP TRIGGER refuse ON recipient');
      await one.isBack();
      assert.deepEqual(await two.post('id', [a], 2_000), ['2.0.0 told']);
      assert.deepEqual(await query('SELECT FROM unknown'), []);
    },
  );

  await t.test(
    'law 6, law 7: a statement of a lost session begins nothing once the proxy is back',
    async (inner) => {
      const { one, two, query } = await twoProxies(inner, { takeOverMs: 60_000 });
      // Somebody holds the row of the message, so that the statement waits.
      const held = query(
        `BEGIN; INSERT INTO message (name, digest, at) VALUES ('web1/id', decode(repeat('00', 32), 'hex'), 1);
         SELECT pg_sleep(60); ROLLBACK`,
      ).catch((error: Error) => error.message);
      const sleeper = `FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'
        AND datname = current_database()`;
      await untilRows(query, `SELECT pid ${sleeper}`);
      const first = one.post('id', [a]);
      const failed = assert.rejects(first, /there is no connection|terminat/);
      const waits = 'SELECT pid FROM pg_stat_activity WHERE usename = ';
      await untilRows(query, `${waits}'first${count}' AND wait_event_type = 'Lock'`);
      await query(`SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE usename = 'first${count}' AND locktype = 'advisory' AND classid = ${OWNERS}`);
      await failed;
      await one.isBack();
      await query(`SELECT pg_terminate_backend(pid) ${sleeper}`);
      await held;
      assert.deepEqual(await two.post('id', [a], 3_000), ['2.0.0 told']);
      assert.equal(one.calls.length, 0);
    },
  );

  const faults = [
    { what: 'whose session is lost', error: new PostgresLostError('cut off'), isCutOff: true },
    { what: 'that fails', error: new Error('statement timeout'), isCutOff: false },
  ];
  for (const { what, error, isCutOff } of faults) {
    await t.test(
      `law 6, law 7: a begin ${what} after some were begun withdraws them`,
      async (inner) => {
        const { one, two, query, cutOff, letBack } = await twoProxies(inner, {
          takeOverMs: 60_000,
        });
        const backend = new AbortController();
        two.backend = backend.signal;
        const first = two.post('id', [a]);
        await until(
          () => two.calls.length > 0,
          () => 'no call',
        );
        inner.mock.method(one.ledger, 'known', async () => {
          if (isCutOff) await cutOff();
          throw error;
        });
        const digest = createHash('sha256').update('x\n').digest();
        await assert.rejects(one.ledger.begin({ key: 'web1', id: 'id' }, digest, [a, b]), error);
        inner.mock.restoreAll();
        if (isCutOff) {
          await letBack();
          await one.isBack();
        }
        backend.abort();
        assert.deepEqual(await two.post('id', [b], 2_000), ['2.0.0 told']);
        assert.deepEqual(await first, ['2.0.0 told']);
        assert.deepEqual(await query('SELECT FROM unknown'), []);
      },
    );
  }
});

async function untilRows(query: (text: string) => Promise<unknown[]>, text: string): Promise<void> {
  while ((await query(text)).length === 0) await new Promise(setImmediate);
}
