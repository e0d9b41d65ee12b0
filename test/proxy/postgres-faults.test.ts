import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { Client } from 'pg';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';
import { until } from '../support/until.ts';

/** Makes a database unusable; what it returns makes it usable again. */
type Fault = (server: PostgresServer) => Promise<() => Promise<unknown> | void>;

/** Has every statement that begins a recipient fail as it does when the disk of the server is full. */
const full: Fault = async (server) => {
  await server.query(
    `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
     END $$`,
  );
  await server.query(
    'CREATE TRIGGER full_disk BEFORE INSERT ON recipient EXECUTE FUNCTION full_disk()',
  );
  return async () => server.query('DROP TRIGGER full_disk ON recipient');
};

const down: Fault = async (server) => {
  await server.stop();
  return async () => server.start();
};

/** Another session holds the table, as a long migration or a vacuum does. */
const locked: Fault = async (server) => {
  const client = new Client({ host: server.folder, user: 'ledger', database: 'ledger' });
  await client.connect();
  await client.query('BEGIN; LOCK TABLE appengine_mailer.message IN ACCESS EXCLUSIVE MODE');
  return async () => client.end();
};

const suspended: Fault = async (server) => {
  server.signalAll('SIGSTOP');
  return Promise.resolve(() => server.signalAll('SIGCONT'));
};

const faults: Record<string, { fault: Fault; reason: RegExp }> = {
  'is full': {
    fault: full,
    reason:
      /: could not extend file: No space left on device\. To do: make room on the database server's disk$/,
  },
  'is down': { fault: down, reason: /: there is no connection to the server/ },
  'holds a lock for too long': {
    fault: locked,
    reason:
      /: canceling statement due to statement timeout\. To do: see whether another session holds a lock/,
  },
  'does not answer': { fault: suspended, reason: /the server gave no answer within 15 s/ },
};

test('a database that cannot be used', { concurrency: true, ...needs('postgres') }, async (t) => {
  const checks = Object.entries(faults).map(async ([name, { fault, reason }]) =>
    t.test(
      `law 5, law 6: while it ${name}, posts are answered 503, signed, with the reason; nothing is sent, and later it goes on`,
      async (inner) => check(inner, fault, reason),
    ),
  );
  await Promise.all(checks);
});

async function check(t: TestContext, fault: Fault, reason: RegExp): Promise<void> {
  const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
  const road = new Road(t);
  const { key } = road;
  await road.proxy([], {}, server.url);
  const post = { key, id: 'an-id' };
  const repair = await fault(server);
  try {
    const answer = await signedPost(road.address, post);
    const text = answer.body.toString().trim();
    t.diagnostic(text);
    assert.equal(answer.status, 503, text);
    assert.ok(answer.signedBy(key, 'an-id'));
    assert.equal(answer.headers['retry-after'], '10');
    assert.match(text, /the ledger cannot be written: /);
    assert.match(text, reason);
    assert.deepEqual(road.deliveries(), []);
  } finally {
    await repair();
  }
  let said = '';
  await until(
    async () => {
      const { status, body } = await signedPost(road.address, post);
      said = body.toString();
      return status === 200;
    },
    () => said,
  );
  assert.deepEqual(
    road.deliveries().map(({ id }) => id),
    ['an-id'],
    'once',
  );
  assert.deepEqual(await server.query('SELECT FROM unknown'), []);
}
