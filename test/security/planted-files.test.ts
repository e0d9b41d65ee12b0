import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';

// An account that may write to a folder may replace a file by something else: no program hangs, and each names it.

function makeFifo(file: string): void {
  assert.equal(spawnSync('mkfifo', [file]).status, 0);
}

for (const [name, where] of [
  ['GMAIL_SECRET_KEYS', 'the working directory'],
  ['GMAIL_SECRET_KEY', 'the working directory'],
  ['GMAIL_DEFAULT_SENDER', 'the working directory'],
  ['GMAIL_SECRET_KEYS', 'the folder of credentials'],
  ['keys', '--keys-file'],
  ['authorities', '--smtp-ca-file'],
] as const) {
  test(`a FIFO in the place of ${name} does not hold up a proxy: ${where}`, async (t) => {
    const { folder, key } = new Road(t);
    const fifo = join(folder, name);
    makeFifo(fifo);
    if (name !== 'GMAIL_SECRET_KEYS' && name !== 'GMAIL_SECRET_KEY') {
      writeFileSync(join(folder, 'GMAIL_SECRET_KEY'), key);
    }
    const ledger = ['--ledger', join(folder, 'ledger.db'), '--listen', '127.0.0.1:0'];
    const option = where.startsWith('--') ? [where, fifo] : [];
    const relay = name === 'authorities' ? ['--backend', 'smtp', '--smtp-host', '127.0.0.1'] : [];
    const proxy = appengineMailer(t, ['proxy', ...ledger, ...relay, ...option], {
      cwd: where === 'the folder of credentials' ? '/' : folder,
      env: where === 'the folder of credentials' ? { CREDENTIALS_DIRECTORY: folder } : {},
      input: '',
    });
    await proxy.says(new RegExp(`${name} is a FIFO, and is not a regular file`));
    assert.equal((await proxy.ended).code, 78);
  });
}

for (const [name, option] of [
  ['GMAIL_PROXY_URL', undefined],
  ['GMAIL_SECRET_KEY', undefined],
  ['authorities', '--ca-file'],
] as const) {
  test(`a FIFO in the place of ${option ?? name} does not hold up drain`, async (t) => {
    const road = new Road(t);
    makeFifo(join(road.folder, name));
    const env = { GMAIL_PROXY_URL: 'https://127.0.0.1:1/', CREDENTIALS_DIRECTORY: road.folder };
    const args = option ? [option, join(road.folder, name)] : [];
    const drain = road.drain(args, { ...env, ...(option ? {} : { [name]: '' }) });
    await drain.says(new RegExp(`${name} is a FIFO, and is not a regular file`));
    assert.equal((await drain.ended).code, 78);
  });
}

test('a file of keys may be behind a link, as orchestrators place them', async (t) => {
  const road = new Road(t);
  writeFileSync(join(road.folder, 'elsewhere'), road.key);
  symlinkSync('elsewhere', join(road.folder, 'GMAIL_SECRET_KEYS'));
  await road.proxy([], { GMAIL_SECRET_KEY: '' });
});

for (const [what, plant] of [
  ['a FIFO', makeFifo],
  ['a symbolic link', (file: string) => symlinkSync('/etc/shadow', file)],
] as const) {
  test(`${what} in the place of what a repair or a rescue left does not hold up drain, and is not read`, async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const rescued = `rescued-${'a'.repeat(32)}`;
    for (const name of ['spool.db.repaired', rescued]) plant(join(road.spool, name));
    await road.proxy();
    const drain = road.drain(['--once']);
    await drain.says(new RegExp(`attention: .* cannot be read: \\S+${rescued}.damaged`));
    assert.equal((await drain.ended).code, 0, drain.stderr);
    const names = readdirSync(road.spool);
    assert.deepEqual(
      [names.includes('spool.db.repaired'), names.includes(`${rescued}.damaged`)],
      [false, true],
    );
    assert.equal(road.deliveries().length, 1);
  });
}

/** What may be planted beside a database. */
const intruders = [
  ['a symbolic link', (file: string) => symlinkSync('/nonexistent/elsewhere', file)],
  ['a FIFO', makeFifo],
  ['a folder', (file: string) => mkdirSync(file)],
] as const;

for (const [what, plant] of intruders) {
  for (const end of ['-journal', '-wal', '-shm']) {
    test(`${what} in the place of spool.db${end} or ledger.db${end} is named, and what to do`, async (t) => {
      const road = new Road(t);
      handIn(road.spool, [{}]);
      const file = join(road.spool, `spool.db${end}`);
      plant(file);
      const told = new RegExp(
        `spool\\.db${end} is ${what}, and is not a regular file: see who has made it, and remove it`,
      );
      const list = await road.queue('list');
      assert.equal(list.code, 74);
      assert.match(list.stderr, told);
      const handed = await road.pipe('1abc', 'MAIL FROM:<>\nRCPT TO:<a@b>\nDATA\nx\n.\n');
      assert.equal(handed.code, 75);
      assert.match(handed.stdout.toString(), told);
      const drain = await road.drain(['--once'], { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' }).ended;
      assert.equal(drain.code, 74);
      assert.match(drain.stderr, told);

      plant(join(road.folder, `ledger.db${end}`));
      const ledger = ['--ledger', join(road.folder, 'ledger.db'), '--listen', '127.0.0.1:0'];
      const proxy = await appengineMailer(t, ['proxy', ...ledger], {
        env: { GMAIL_SECRET_KEY: road.key },
        input: '',
      }).ended;
      assert.equal(proxy.code, 74);
      assert.match(proxy.stderr, new RegExp(`ledger\\.db${end} is ${what}, and .*remove it`));
    });
  }
}
