import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { limits } from '../../src/limits.ts';
import { handIn, type Mail } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import type { Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { ScriptedSmtp, type SmtpScript } from '../support/scripted-smtp.ts';

const refused = { status: '5.1.1', reason: 'no such user' };
const deferred = { status: '4.2.2', reason: 'mailbox full' };

interface Stage {
  road: Road;
  smtp: ScriptedSmtp;
  proxy: ScriptedProxy;
  drain: (...args: string[]) => Program;
}

/** A spool, a proxy that gives every recipient this verdict, and a mail server for reports. */
async function stage(
  t: TestContext,
  mails: Mail[],
  verdict = refused,
  script: SmtpScript = {},
): Promise<Stage> {
  const road = new Road(t);
  handIn(road.spool, mails);
  const smtp = await ScriptedSmtp.start(t, script);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.answer(() => verdict));
  const env = {
    GMAIL_PROXY_URL: proxy.url,
    APPENGINE_MAILER_NOTICE_SMTP: `127.0.0.1:${smtp.port}`,
  };
  return { road, smtp, proxy, drain: (...args) => road.drain(args, env) };
}

/** Changes the spool as time would. */
function change(road: Road, sql: string): void {
  const db = new Database(join(road.spool, 'spool.db'));
  db.exec(sql);
  db.close();
}

function owed(road: Road): unknown {
  const db = new Database(join(road.spool, 'spool.db'), { readonly: true });
  const reports: unknown = db.prepare('SELECT count(*) FROM notice').pluck().get();
  db.close();
  return reports;
}

const states = (road: Road) => lookInto(road.spool).messages.map(({ state }) => state);

test('who sent what failed is told once, with the null sender (law 9), and the message is bounced', async (t) => {
  const { road, smtp, drain } = await stage(t, [
    { sender: 'me@host.example', bytes: 'Subject: hello\n\nx\n' },
  ]);
  const { stderr } = await drain('--once').ended;
  assert.match(stderr, /<me@host\.example> was told of .*: failure/);
  assert.deepEqual(smtp.said('MAIL'), ['MAIL FROM:<> BODY=8BITMIME']);
  assert.deepEqual(smtp.said('RCPT'), ['RCPT TO:<me@host.example>']);
  const report = smtp.messages[0]?.bytes.toString() ?? '';
  assert.match(report, /^Diagnostic-Code: x-appengine-mailer; 5\.1\.1 no such user\r$/m);
  assert.match(report, /^Subject: hello\r$/m);
  assert.deepEqual(states(road), ['bounced']);
  await drain('--once').ended;
  assert.equal(smtp.messages.length, 1);
});

test('a sender with < and > in quotes is told, too', async (t) => {
  const sender = '"<s> t"@example.com';
  const { smtp, road, drain } = await stage(t, [{ sender }]);
  const { code, stderr } = await drain('--once').ended;
  assert.equal(code, 0, stderr);
  assert.deepEqual(smtp.said('RCPT'), [`RCPT TO:<${sender}>`]);
  assert.deepEqual(states(road), ['bounced']);
});

test('a failure is told while another recipient is still tried', async (t) => {
  const { road, smtp, proxy, drain } = await stage(t, [
    { recipients: ['bad@x.example', 'full@x.example'] },
  ]);
  proxy.script = (post) =>
    post.answer((recipient) => (recipient.startsWith('bad') ? refused : deferred));
  await drain('--once').ended;
  const [message] = lookInto(road.spool).messages;
  assert.equal(message?.state, 'queued');
  assert.deepEqual(
    message.recipients.map(({ state }) => state),
    ['bounced', 'pending'],
  );
  assert.doesNotMatch(smtp.messages[0]?.bytes.toString() ?? '', /full@x\.example/);
});

test('what has the null sender and fails is told to nobody and stays failed (law 9)', async (t) => {
  const { road, smtp, drain } = await stage(t, [{ sender: '' }]);
  const { stderr } = await drain('--once').ended;
  assert.match(stderr, /it has the null sender, so nobody is told/);
  assert.deepEqual(states(road), ['failed']);
  assert.deepEqual(smtp.lines, []);
});

test('a drain killed when the report is taken repeats it once, with the same Message-ID, and loses none (law 7)', async (t) => {
  const { road, smtp, drain } = await stage(t, [{}]);
  const first = drain();
  smtp.script = {
    message: () => {
      first.child.kill('SIGKILL');
      return '250 2.0.0 taken';
    },
  };
  await first.ended;
  assert.deepEqual(states(road), ['failed']);
  smtp.script = {};
  await drain('--once').ended;
  assert.deepEqual(states(road), ['bounced']);
  const ids = smtp.messages.map(({ bytes }) => /^Message-ID: (.*)\r$/m.exec(bytes.toString())?.[1]);
  assert.equal(ids.length, 2);
  assert.equal(ids[0], ids[1]);
});

test('a drain killed before the report is taken: the next one sends it (law 7)', async (t) => {
  const { road, smtp, drain } = await stage(t, [{}]);
  const first = drain();
  smtp.script = {
    RCPT: () => {
      first.child.kill('SIGKILL');
      return 'hang';
    },
  };
  await first.ended;
  smtp.script = {};
  await drain('--once').ended;
  assert.deepEqual(states(road), ['bounced']);
  assert.equal(smtp.messages.length, 1);
});

// dma's mail.c: the original was deleted although its bounce could not be made.
test('while the mail server is away reports wait, said once, and other mail goes on', async (t) => {
  const { road, smtp, proxy, drain } = await stage(t, [{}, {}], refused, {
    greeting: '421 not now',
  });
  const first = await drain('--once').ended;
  assert.equal(first.code, 0);
  assert.equal(first.stderr.match(/reports to senders wait/g)?.length, 1);
  assert.deepEqual(states(road), ['failed', 'failed']);
  proxy.script = (post) => post.accept();
  handIn(road.spool, [{}]);
  await drain('--once').ended;
  assert.deepEqual(states(road), ['failed', 'failed', 'sent']);
  smtp.script = {};
  await drain('--once').ended;
  assert.deepEqual(states(road), ['bounced', 'bounced', 'sent']);
});

test('a mail server at an IPv6 address is named with brackets', async (t) => {
  const { smtp, drain } = await stage(t, [{}]);
  const elsewhere = `[::1]:${smtp.port}`; // It listens on 127.0.0.1 only.
  const { stderr } = await drain('--once', '--notice-smtp', elsewhere).ended;
  assert.ok(stderr.includes(` ${elsewhere}`), stderr);
});

test('a report that the mail server refuses is dropped; what failed stays failed', async (t) => {
  const { road, smtp, drain } = await stage(t, [
    { sender: 'gone@host.example' },
    { sender: 'me@host.example' },
  ]);
  smtp.script = { RCPT: (line) => (line.includes('gone') ? '550 5.1.1 unknown user' : '250 ok') };
  const { stderr } = await drain('--once').ended;
  assert.match(stderr, /<gone@host\.example> cannot be told of .*unknown user/);
  assert.deepEqual(states(road), ['failed', 'bounced']);
  await drain('--once').ended;
  assert.equal(smtp.said('RCPT TO:<gone').length, 1);
});

test('a report that is put off waits alone', async (t) => {
  const { road, smtp, drain } = await stage(t, [
    { sender: 'late@host.example' },
    { sender: 'me@host.example' },
  ]);
  smtp.script = { RCPT: (line) => (line.includes('late') ? '451 4.3.0 later' : '250 ok') };
  await drain('--once').ended;
  assert.deepEqual(states(road), ['failed', 'bounced']);
  smtp.script = {};
  change(road, 'UPDATE notice SET due_at = 0');
  await drain('--once').ended;
  assert.deepEqual(states(road), ['bounced', 'bounced']);
});

// nullmailer #54, #69: bounces without end filled the disk.
test('a thousand failures make twenty reports and one summary that names the rest (law 9)', async (t) => {
  const mails = Array.from({ length: 1000 }, (_, n) => ({ recipients: [`r${n}@x.example`] }));
  const { road, smtp, drain } = await stage(t, [...mails, { sender: 'other@host.example' }]);
  await drain('--once').ended;
  assert.equal(smtp.messages.length, 21); // The other sender has reports of its own.
  assert.deepEqual(smtp.said('RCPT TO:<other@host.example>').length, 1);

  change(
    road,
    'UPDATE told SET at = at - 3600001; UPDATE notice SET due_at = 0 WHERE collected = 1',
  );
  await drain('--once').ended;
  assert.equal(smtp.messages.length, 22);
  const told = smtp.messages.map(({ bytes }) => bytes.toString()).join('');
  for (const { recipients } of mails) assert.ok(told.includes(`${recipients[0]}`), recipients[0]);
  assert.ok(states(road).every((state) => state === 'bounced'));
});

test('a delay of the message’s own is told after 4 h and after 24 h, and only then', async (t) => {
  const { road, smtp, drain } = await stage(t, [{}], deferred);
  const later = async (hours: number) => {
    change(road, `UPDATE message SET due_at = 0, renewed_at = renewed_at - ${hours * 3_600_000}`);
    await drain('--once').ended;
    return smtp.messages.length;
  };
  await drain('--once').ended;
  assert.equal(smtp.messages.length, 0);
  assert.equal(await later(3), 0);
  assert.equal(await later(1), 1);
  assert.equal(await later(1), 1);
  assert.equal(await later(20), 2);
  assert.equal(await later(20), 2);
  assert.match(smtp.messages[0]?.bytes.toString() ?? '', /^Action: delayed\r$/m);
  assert.deepEqual(states(road), ['queued']);
});

const unwarned: [string, Mail][] = [
  ['the null sender', { sender: '' }],
  ['Precedence: bulk', { bytes: 'Precedence: bulk\n\nx\n' }],
  ['Auto-Submitted', { bytes: 'Auto-Submitted: auto-generated\n\nx\n' }],
  ['a list', { bytes: 'List-Id: <a.b>\n\nx\n' }],
];
test('no delay is told to programs and lists, nor with --delay-warnings none', async (t) => {
  const { road, smtp, drain } = await stage(
    t,
    unwarned.map(([, mail]) => mail),
    deferred,
  );
  await drain('--once').ended;
  change(road, 'UPDATE message SET due_at = 0, renewed_at = renewed_at - 18000000');
  await drain('--once').ended;
  handIn(road.spool, [{}]);
  await drain('--once', '--delay-warnings', 'none').ended;
  change(road, 'UPDATE message SET due_at = 0, renewed_at = renewed_at - 18000000');
  await drain('--once', '--delay-warnings', 'none').ended;
  assert.equal(smtp.messages.length, 0);
});

test('an outage of the endpoint is no delay of the message’s own', async (t) => {
  const { road, smtp, drain } = await stage(t, [{}], deferred);
  await drain('--once').ended;
  change(
    road,
    'UPDATE message SET due_at = 0, renewed_at = renewed_at - 18000000; UPDATE endpoint SET outage_ms = outage_ms + 7200000',
  );
  await drain('--once').ended;
  assert.equal(smtp.messages.length, 0);
});

for (const [option, value] of [
  ['--notice-smtp', 'nowhere'],
  ['--notices-per-hour', '0'],
  ['--delay-warnings', 'soon'],
] as const) {
  test(`${option} ${value} is refused with a sentence`, async (t) => {
    const road = new Road(t);
    const { code, stderr } = await road.drain(['--once', option, value]).ended;
    assert.equal(code, 64, stderr);
    assert.match(stderr, new RegExp(value));
  });
}

/** Makes the text of all messages unreadable, as a damaged disk would. */
const DAMAGE = "UPDATE body SET bytes = x''";

test('a message that cannot be read is reported without its text, and stops no other report (law 5)', async (t) => {
  const { road, smtp, drain } = await stage(t, [{}], refused, { greeting: '421 not now' });
  await drain('--once').ended;
  change(road, DAMAGE);
  handIn(road.spool, [{ sender: 'other@host.example' }]);
  smtp.script = {};
  const { code, stderr } = await drain('--once').ended;
  assert.equal(code, 0, stderr);
  assert.equal(smtp.messages.length, 2, stderr);
  assert.match(smtp.messages[0]?.bytes.toString() ?? '', /^Status: 5\.1\.1\r$/m);
  assert.deepEqual(states(road), ['bounced', 'bounced']);
});

test('the delay of a list’s mail is not told in a summary either (law 9)', async (t) => {
  const { road, smtp, proxy, drain } = await stage(t, [
    { recipients: ['first@x.example'] },
    { recipients: ['then@x.example'] },
    { recipients: ['list@x.example'], bytes: 'List-Id: <a.b>\n\nx\n' },
  ]);
  const refuse = (name: string) => {
    proxy.script = (post) =>
      post.answer((recipient) => (recipient.startsWith(name) ? refused : deferred));
  };
  refuse('first');
  await drain('--once', '--notices-per-hour', '1').ended;
  // Owed, and not looked at yet when a summary begins.
  change(
    road,
    `INSERT INTO notice (message, kind, sender, due_at)
       SELECT seq, 'delay', sender, ${Date.now() + 600_000} FROM message ORDER BY seq DESC LIMIT 1;
     UPDATE message SET due_at = 0 WHERE state = 'queued'`,
  );
  refuse('then');
  await drain('--once', '--notices-per-hour', '1').ended;
  change(road, 'UPDATE told SET at = at - 3600001; UPDATE notice SET due_at = 0');
  await drain('--once', '--notices-per-hour', '1').ended;
  const told = smtp.messages.map(({ bytes }) => bytes.toString()).join('');
  assert.match(told, /first@x\.example/);
  assert.match(told, /then@x\.example/);
  assert.doesNotMatch(told, /list@x\.example/);
});

test('more unwanted warnings than drain looks at in one turn are all worked off', async (t) => {
  const list = { bytes: 'List-Id: <a.b>\n\nx\n' };
  const mails = Array.from({ length: 3 * limits.reportsLook }, () => list);
  const { road, smtp, drain } = await stage(t, mails, deferred);
  await drain('--once').ended;
  change(
    road,
    `INSERT INTO notice (message, kind, sender) SELECT seq, 'delay', sender FROM message`,
  );
  await drain('--once').ended;
  assert.equal(smtp.messages.length, 0);
  assert.equal(owed(road), 0);
});
