import assert from 'node:assert/strict';
import { statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { checkSpool } from '../../src/cli/check/check-spool.ts';
import { limits } from '../../src/limits.ts';
import { Spool } from '../../src/spool/spool.ts';
import { clock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, start, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

/** Somebody who begins to read a database and does not end, as an open sqlite3 shell does. */
async function longReader(t: TestContext, file: string): Promise<Program> {
  const script = `
    const { default: Database } = await import(${JSON.stringify(inCheckout('dist/sqlite/better-sqlite3.js'))});
    const db = new Database(${JSON.stringify(file)});
    db.exec('BEGIN');
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    process.stderr.write('reads\\n');
    setInterval(() => db.name, 1000); // What nobody can use any more is closed by the garbage collector.`;
  const reader = start(t, process.execPath, ['--input-type=module', '-e', script]);
  await reader.says(/reads/);
  return reader;
}

/** As if so much had been committed meanwhile; what is behind the last commit counts for nothing. */
function letGrow(file: string): void {
  truncateSync(`${file}-wal`, limits.logAlarmBytes + 1_000_000);
}

// A look every 50 ms, an hour in 6 s.
const FAST = '+0 x600';

test(
  'a program that reads the spool without end: drain tells how large the log is and who has it open, again every hour, and when it is over',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const file = join(road.spool, 'spool.db');
    const env = { GMAIL_PROXY_URL: 'http://127.0.0.1:1/', ...clock(FAST) };
    const drain = road.drain([], env);
    await drain.says(/ started; /);
    const reader = await longReader(t, file);
    handIn(road.spool, [{}]);
    letGrow(file);
    const pattern = /^attention: the write-ahead log of the spool \S+ has grown to (\d+) MB.*$/m;
    const [line, size] = await drain.says(pattern);
    assert.equal(size, '269');
    assert.ok(line.includes(`(pid ${reader.child.pid})`), line);
    assert.ok(!line.includes(`(pid ${drain.child.pid})`), line);
    await drain.says(pattern, 2);

    const spool = new Spool(road.spool, 'operator');
    const finding = checkSpool(spool).find(({ check }) => check === 'log');
    spool.close();
    assert.equal(finding?.ok, false);
    assert.ok(finding.text.includes(`(pid ${reader.child.pid})`), finding.text);

    await reader.stop();
    await drain.says(/^the write-ahead log of the spool \S+ is small again$/m);
    assert.ok(statSync(`${file}-wal`).size <= limits.walBytes);
    await drain.stop();
    assert.equal([...drain.stderr.matchAll(/is small again/g)].length, 1);
    assert.equal((await road.stats())['accepted'], 2);
  },
);

test(
  'a program that reads the ledger without end: the proxy tells it, and when it is over',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    const proxy = await road.proxy([], clock(FAST));
    const file = join(road.folder, 'ledger.db');
    const reader = await longReader(t, file);
    await signedPost(road.address, { key: road.key });
    letGrow(file);
    const [line] = await proxy.says(/^attention: the write-ahead log of the ledger .*$/m);
    assert.ok(line.includes(`(pid ${reader.child.pid})`), line);
    await reader.stop();
    await proxy.says(/^the write-ahead log of the ledger \S+ is small again$/m);
    await proxy.stop();
  },
);
