import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { systemClock } from '../../src/host/clock.ts';
import { limits } from '../../src/limits.ts';
import type { Ledger } from '../../src/proxy/ledger/ledger.ts';
import { connectPostgres } from '../../src/proxy/ledger/postgres/connect-postgres.ts';
import { libpqSettings } from '../../src/proxy/ledger/postgres/libpq-settings.ts';
import { openPostgresLedger } from '../../src/proxy/ledger/postgres/open-postgres-ledger.ts';
import { sql } from '../../src/proxy/ledger/postgres/statements.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { figures, LONG } from '../support/figures.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';

const MANY = LONG ? 1_000_000 : 50_000;
const POSTS = 64;

test('law 11: a statement finds its rows by an index', needs('postgres'), async (t) => {
  const server = await PostgresServer.start(t, { settings: QUIET });
  const ledger = await openLedger(t, server);
  await work(ledger, 1);
  await fill(server, 1, 1000);
  await server.query(`INSERT INTO unknown (message, address, at, reason, listed_at)
    SELECT message, address, 0, reason, 0 FROM recipient`);
  await server.query('ANALYZE');
  const plans = await plansOf(server);
  for (const [name, nodes] of Object.entries(plans)) {
    const all = nodes.filter((node) => isRead(node) && node['Index Cond'] === undefined);
    const wrong = all.filter(
      ({ 'Relation Name': table = '' }) => !SMALL.has(table) && !WHOLE[name]?.includes(table),
    );
    assert.deepEqual(wrong, [], name);
    // Where neither side of a join is a table, each row is compared with each.
    const joins = nodes.filter((node) => node['Join Filter'] !== undefined);
    assert.ok(
      joins.every(({ Plans = [] }) => Plans.some(usesTable)),
      name,
    );
  }
  const ofLook = plans['look']?.filter((node) => node['Index Name'] === 'recipient_begun');
  assert.equal(ofLook?.filter((node) => node['Index Cond'] === undefined).length, 1);
  for (const name of ['lookUp', 'settle', 'missed', 'wait']) {
    const reads = (plans[name] ?? []).filter(
      (node) => isRead(node) && node['Relation Name'] === 'recipient',
    );
    assert.ok(reads.length > 0, name);
    for (const { 'Index Name': index, 'Index Cond': by = '' } of reads) {
      assert.ok(index === 'recipient_pkey' && /message = .*address = /.test(by), `${name}: ${by}`);
    }
  }
});

const states = {
  'that the server knew nothing of': { before: 'SELECT', planMs: 0 },
  // As autovacuum may do. A plan for tables that are known to be empty reads all of them.
  'that the server knew to be empty': { before: 'VACUUM ANALYZE', planMs: limits.databasePlanMs },
};
for (const [tables, { before, planMs }] of Object.entries(states))
  test(
    `law 11: a batch costs the same after ${MANY} others, in tables ${tables}`,
    { ...needs('postgres'), timeout: 600_000 },
    async (t) => {
      const settings = { ...QUIET, shared_preload_libraries: 'pg_stat_statements' };
      const server = await PostgresServer.start(t, { settings });
      await server.query('CREATE EXTENSION pg_stat_statements SCHEMA public');
      let nowMs = 0;
      const ledger = await openLedger(t, server, { ...systemClock, now: () => nowMs });
      const measure = async (round: number) => {
        nowMs += planMs;
        return measured(server, async () => work(ledger, round));
      };
      await server.query(before);
      await work(ledger, 1);
      await fill(server, 1, 1000);
      const few = await measure(2);
      await fill(server, 1001, MANY);
      const many = await measure(3);
      for (const [name, { blocks, records }] of Object.entries(few)) {
        const then = many[name] ?? { blocks: NaN, records: NaN };
        figures(t, `${name}, ${POSTS} posts in PostgreSQL`, {
          blocks,
          manyBlocks: then.blocks,
          records,
          manyRecords: then.records,
        });
        assert.ok(then.blocks <= 3 * blocks && then.records <= 2 * records, name);
      }
    },
  );

/** Tables that stay small. */
const SMALL = new Set(['clock', 'ledger', 'pace', 'gap', 'owner', 'proxy', 'figure', 'sample']);

/**
 * Tables of which a statement looks whether they have a row, or counts rows up to limits.unknownCounted; and that of which it
 * reads what is begun, with entries of what was sent that the next look passes over.
 */
const WHOLE: Partial<Record<string, readonly string[]>> = {
  about: ['message', 'unknown'],
  figures: ['unknown', 'pg_class'],
  look: ['recipient'],
  leave: ['recipient'],
};

/** Nothing tidies up meanwhile. */
const QUIET = { autovacuum: 'off', fsync: 'off' };

async function openLedger(
  t: TestContext,
  server: PostgresServer,
  clock = systemClock,
): Promise<Ledger> {
  const ledger = await openPostgresLedger(server.url, { journal: proxyJournal(() => {}), clock });
  t.after(async () => ledger.close());
  return ledger;
}

/** Posts of different messages that come at the same time, in a named round. */
async function work(ledger: Ledger, round: number): Promise<void> {
  const digest = Buffer.alloc(32, round);
  const recipient = 'r@example.org';
  const sent = { address: recipient, kind: 'sent', status: '2.0.0', reason: 'ok' } as const;
  const messages = Array.from({ length: POSTS }, (_, at) => ({
    key: 'web1',
    id: `${round}-${at}`,
  }));
  await Promise.all(messages.map(async (each) => ledger.known(each, [recipient], digest)));
  await Promise.all(messages.map(async (each) => ledger.begin(each, digest, [recipient])));
  const missed = await Promise.all(messages.map(async (each) => ledger.settle(each, [sent])));
  assert.deepEqual(missed.flat(), []);
}

/** Messages, by number, that the proxy has begun and sent; the index of those that are begun still has each. */
async function fill(server: PostgresServer, first: number, last: number): Promise<void> {
  await server.query(`INSERT INTO message (name, digest, at)
    SELECT 'web0:' || number, sha256('x'), number FROM generate_series(${first}, ${last}) AS number`);
  await server.query(`INSERT INTO recipient (message, address, state, owner)
    SELECT name, 'r@example.org', 'begun', owner.number FROM message, owner
    WHERE at BETWEEN ${first} AND ${last}`);
  await server.query(`UPDATE recipient SET state = 'sent', status = '2.0.0', reason = 'ok'
    WHERE state = 'begun'`);
}

/** A node of a plan, as EXPLAIN tells it. */
interface Node {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  'Join Filter'?: string;
  Plans?: Node[];
}

/** How the server runs each statement in a session of the ledger: the nodes of its plan. */
async function plansOf(server: PostgresServer): Promise<Record<string, Node[]>> {
  const connection = await connectPostgres(libpqSettings(server.url));
  const { client } = connection;
  const plans: Record<string, Node[]> = {};
  for (const { name, text } of Object.values(sql)) {
    await client.query(`PREPARE "${name}" AS ${text}`);
    const count = Math.max(
      0,
      ...[...text.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number)),
    );
    const values = count > 0 ? `(${Array(count).fill('NULL').join()})` : '';
    const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Node }] }>(
      `EXPLAIN (FORMAT JSON) EXECUTE "${name}" ${values}`,
    );
    plans[name] = rows.flatMap((row) => nodesOf(row['QUERY PLAN'][0].Plan));
  }
  connection.destroy();
  return plans;
}

function nodesOf(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

/** Whether it reads a table, by an index or not. */
function isRead(node: Node): boolean {
  return node['Node Type'] !== 'ModifyTable' && node['Relation Name'] !== undefined;
}

function usesTable(node: Node): boolean {
  return nodesOf(node).some(isRead);
}

/** Blocks of 8 KB that a statement looked at, and records that it wrote to the log. */
interface Cost {
  blocks: number;
  records: number;
}

/** What the statements of the ledger cost while the action runs, by their names. */
async function measured(
  server: PostgresServer,
  action: () => Promise<void>,
): Promise<Record<string, Cost>> {
  await server.query('SELECT pg_stat_statements_reset()');
  await action();
  const rows = await server.query<Cost & { query: string }>(`SELECT query,
    (shared_blks_hit + shared_blks_read)::integer AS blocks, wal_records::integer AS records
    FROM pg_stat_statements`);
  const costs = Object.entries({
    lookUp: 'asked (name)',
    begin: 'WITH awake',
    settle: 'WITH outcome',
  });
  return Object.fromEntries(
    costs.map(([name, words]) => {
      const row = rows.find(({ query }) => query.includes(words));
      assert.ok(row, name);
      return [name, { blocks: row.blocks, records: row.records }];
    }),
  );
}
