import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { account } from '../support/account.ts';
import { appengineMailerAs } from '../support/as-account.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, start } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { until } from '../support/until.ts';

/** All user and group ids of a process. */
function usersOf(pid: number): number[] {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const lines = [...status.matchAll(/^(?:Uid|Gid|Groups):\s(.*)$/gm)];
  return lines.flatMap(([, ids = '']) => ids.split(/\s+/).filter(Boolean).map(Number));
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

test(
  'what root’s commands make beside spool and ledger is the folder’s owner’s, even when they are killed; the services go on (law 7, law 14)',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    const state = join(road.folder, 'state');
    mkdirSync(state);
    chmodSync(road.folder, 0o711); // The account passes through it.
    for (const folder of [road.spool, state]) chownSync(folder, uid, gid);
    chmodSync(road.spool, 0o2770);
    chmodSync(state, 0o750);

    // By hand, as root, and with the umask of a careful root.
    const asRoot = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
      start(
        t,
        '/bin/sh',
        [
          '-c',
          'umask 077; exec "$@"',
          'sh',
          process.execPath,
          inCheckout('dist/bin/appengine-mailer.js'),
          ...args,
        ],
        {
          env: { GMAIL_SECRET_KEY: road.key, APPENGINE_MAILER_NOTICE_SMTP: '127.0.0.1:1', ...env },
          input: '',
        },
      );
    const spool = ['--spool', road.spool];
    const proxyArgs = [
      'proxy',
      '--listen',
      '127.0.0.1:0',
      '--ledger',
      join(state, 'ledger.db'),
      '--backend',
      'discard',
    ];

    const drain = asRoot(['drain', ...spool], { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' });
    await drain.says(/started; 0 messages/);
    assert.equal((await road.pipe('1abc', bsmtp('', ['r@example.org'], 'x\n'))).code, 0);
    await drain.says(/try 1 failed/);
    await drain.stop('SIGKILL');
    const proxy = asRoot(proxyArgs);
    await proxy.says(/listens on/);
    await proxy.stop('SIGKILL');
    const assertOwned = (...names: string[]) => {
      const files = [road.spool, state].flatMap((folder) =>
        readdirSync(folder).map((name) => join(folder, name)),
      );
      for (const name of names) {
        const isThere = files.some((file) => file.endsWith(`/${name}`));
        assert.ok(isThere, name);
      }
      for (const file of files) {
        const found = statSync(file);
        assert.deepEqual([found.uid, found.gid, found.mode & 0o777], [uid, gid, 0o660], file);
      }
    };
    assertOwned('spool.db-wal', 'spool.db-shm', 'drain.lock', 'ledger.db-wal', 'ledger.db.lock');

    const exim = join(road.folder, 'exim4');
    const reads = join(road.folder, 'reads');
    writeFileSync(
      exim,
      `#!/bin/sh\n[ "$1" = -bt ] && { echo '> a@b'; echo '  router = x'; exit 0; }\n>'${reads}'; exec sleep 10\n`,
    );
    chmodSync(exim, 0o755);
    const returning = asRoot(['queue', 'return', '--all', '--exim', exim, ...spool]);
    await until(
      () => existsSync(reads),
      () => returning.stderr,
    );
    // Exim is run by the process that is still root; the one that works on the spool, as the account, ends with it (law 14).
    const children = childrenOf(returning.child.pid ?? 0);
    const [working = 0, ...more] = children.filter((pid) => usersOf(pid).every((id) => id === uid));
    assert.equal(more.length, 0);
    assert.match(readFileSync(`/proc/${working}/cmdline`, 'utf8'), /--by-owner=true\0/);
    const others = children.filter((pid) => pid !== working).flatMap(usersOf);
    assert.deepEqual(new Set(others), new Set([0]));
    await returning.stop('SIGKILL');
    await until(
      () => !existsSync(`/proc/${working}`),
      () => returning.stderr,
    );

    // Its spool may have been closed: it may notice that its parent is gone before it is killed.
    assertOwned('drain.lock', 'return.lock', 'ledger.db-wal', 'ledger.db.lock');

    const env = { GMAIL_SECRET_KEY: road.key };
    const service = appengineMailerAs(road, { uid, gid }, proxyArgs, env);
    const [, address] = await service.says(/proxy listens on (\S+),/);
    const released = appengineMailerAs(road, { uid, gid }, ['queue', 'release', '--all', ...spool]);
    assert.equal((await released.ended).code, 0);
    const url = { ...env, GMAIL_PROXY_URL: `http://${address}/` };
    const once = await appengineMailerAs(road, { uid, gid }, ['drain', '--once', ...spool], url)
      .ended;
    assert.equal(once.code, 0, once.stderr);
    assert.equal(lookInto(road.spool).counters.sent, 1);
  },
);

test(
  'root may stand in a folder that the owner of the ledger may not look into, such as /root: proxy and proxy check work',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    const [state, own] = ['state', 'own'].map((name) => join(road.folder, name)) as [
      string,
      string,
    ];
    mkdirSync(state);
    mkdirSync(own, { mode: 0o700 });
    chmodSync(road.folder, 0o711); // The account passes through it.
    chownSync(state, uid, gid);
    const program = inCheckout('dist/bin/appengine-mailer.js');
    const options = ['--ledger', join(state, 'ledger.db'), '--backend', 'discard'];
    const begin = (...words: string[]) =>
      start(t, process.execPath, [program, 'proxy', ...words, ...options], {
        cwd: own,
        env: { GMAIL_SECRET_KEYS: road.key },
        input: '',
      });
    const proxy = begin('--listen', `unix:${join(state, 'socket')}`);
    await proxy.says(/proxy listens on/);
    await proxy.stop();
    const { code, stdout, stderr } = await begin('check').ended;
    assert.deepEqual([code, stderr], [0, ''], stdout.toString());
    assert.match(stdout.toString(), /^ok {4}keys: /m);
  },
);
