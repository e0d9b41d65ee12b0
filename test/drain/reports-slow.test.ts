import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { clock } from '../support/clock.ts';
import { timeLimit } from '../support/figures.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { MovedTime } from '../support/moved-time.ts';
import { needs } from '../support/needs.ts';
import type { Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { ScriptedSmtp, type SmtpScript } from '../support/scripted-smtp.ts';
import { SlowRelay } from '../support/slow-relay.ts';
import { until } from '../support/until.ts';

/** How much faster time runs for drain. */
const SPEED = 30;
const fast = () => clock(`+0 x${SPEED}`);
const [SLOW, OTHER] = ['slow@host.example', 'other@host.example'];

interface Stage {
  road: Road;
  drain: (...args: string[]) => Program;
}

/** Mail of two senders that a proxy refuses, and a mail server for the reports on this port. */
async function stage(
  t: TestContext,
  port: number,
  env: (road: Road) => NodeJS.ProcessEnv = () => ({}),
): Promise<Stage> {
  const road = new Road(t);
  handIn(road.spool, [{ sender: SLOW }, { sender: OTHER }]);
  const refused = { status: '5.1.1', reason: 'no such user' };
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.answer(() => refused));
  const all = {
    GMAIL_PROXY_URL: proxy.url,
    APPENGINE_MAILER_NOTICE_SMTP: `127.0.0.1:${port}`,
    ...env(road),
  };
  return { road, drain: (...args) => road.drain(args, all) };
}

/** A mail server that does `answer` with the whole of a report to SLOW, and takes others; it counts the copies. */
async function oneIsSlow(t: TestContext, answer: string) {
  const copies: string[] = [];
  const script: SmtpScript = {
    message: (bytes) => {
      if (!bytes.includes(`To: ${SLOW}`)) return '250 2.0.0 taken';
      copies.push(/^Message-ID: (.*)\r$/m.exec(bytes)?.[1] ?? '');
      return answer;
    },
  };
  return { smtp: await ScriptedSmtp.start(t, script), copies };
}

const states = (road: Road) => lookInto(road.spool).messages.map(({ state }) => state);

function change(road: Road, sql: string): void {
  const db = new Database(join(road.spool, 'spool.db'));
  db.exec(sql);
  db.close();
}

test(
  'a mail server that takes 70 s for a report gets each report once (law 13)',
  { ...needs('faketime'), timeout: timeLimit(60_000) },
  async (t) => {
    const server = await SlowRelay.start(t, { dot: 70_000 / SPEED });
    const { road, drain } = await stage(t, server.port, fast);
    const running = drain();
    await running.says(/was told of/, 2);
    await running.stop();
    assert.deepEqual(server.recipients.toSorted(), [OTHER, SLOW]);
    assert.deepEqual(states(road), ['bounced', 'bounced']);
    assert.doesNotMatch(running.stderr, /reports to senders wait|may have been told/);
  },
);

test(
  'a report that is never answered holds up no other, and waits alone after 10 minutes (law 13)',
  { ...needs('faketime'), timeout: timeLimit(90_000) },
  async (t) => {
    const { smtp, copies } = await oneIsSlow(t, 'hang');
    const { drain } = await stage(t, smtp.port, fast);
    const running = drain();
    await running.says(/<other@host\.example> was told of/);
    await running.says(
      /<slow@host\.example> may have been told of .*no answer within 600 s.* again in 15 m/,
    );
    assert.equal(copies.length, 1);
    assert.doesNotMatch(running.stderr, /reports to senders wait/);
  },
);

test('a report that is never answered is handed over five times, with one Message-ID (law 13)', async (t) => {
  const { smtp, copies } = await oneIsSlow(t, 'lost');
  const { road, drain } = await stage(t, smtp.port);
  let said = '';
  for (let run = 0; run < 7; run += 1) {
    said += (await drain('--once').ended).stderr;
    change(road, 'UPDATE notice SET due_at = 0');
  }
  assert.equal(copies.length, 5);
  assert.equal(new Set(copies).size, 1);
  assert.equal(said.match(/<slow@host\.example> may have been told/g)?.length, 4);
  assert.equal(said.match(/<slow@host\.example> cannot be told/g)?.length, 1);
  assert.deepEqual(states(road), ['failed', 'bounced']);
});

test('a recipient that the mail server does not answer holds up no other report', async (t) => {
  const script = { RCPT: (line: string) => (line.includes(SLOW) ? 'hang' : '250 ok') };
  const smtp = await ScriptedSmtp.start(t, script);
  const { drain } = await stage(t, smtp.port);
  await drain().says(/<other@host\.example> was told of/);
});

test(
  'a drain that was suspended for longer than a limit hears the answer that waits for it (law 13)',
  { ...needs('faketime'), timeout: timeLimit(60_000) },
  async (t) => {
    const { smtp, copies } = await oneIsSlow(t, 'hang');
    let time: MovedTime | undefined;
    const { road, drain } = await stage(t, smtp.port, (made) => {
      time = new MovedTime(made);
      return time.env;
    });
    const running = drain();
    await running.says(/<other@host\.example> was told of/);
    await until(
      () => copies.length === 1,
      () => running.stderr,
    );
    const { pid = 0 } = running.child;
    process.kill(pid, 'SIGSTOP');
    const isStopped = () => /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    await until(isStopped, () => 'drain goes on');
    for (const socket of smtp.sockets) if (socket.writable) socket.write('250 2.0.0 taken\r\n');
    time?.move(11 * 60_000);
    process.kill(pid, 'SIGCONT');
    await running.says(/<slow@host\.example> (?:was|may have been) told of/);
    await running.stop();
    assert.equal(copies.length, 1);
    assert.deepEqual(states(road), ['bounced', 'bounced']);
  },
);

test(
  'a stop waits for a report 30 s, gives it up, and the next drain hands it over once more (law 7)',
  { ...needs('faketime'), timeout: timeLimit(60_000) },
  async (t) => {
    const { smtp, copies } = await oneIsSlow(t, 'hang');
    const { road, drain } = await stage(t, smtp.port, fast);
    const running = drain();
    await running.says(/<other@host\.example> was told of/);
    await until(
      () => copies.length === 1,
      () => running.stderr,
    );
    const { code, stderr } = await running.stop();
    assert.equal(code, 0, stderr);
    assert.match(stderr, /<slow@host\.example> may have been told of .*drain is stopping/);
    assert.deepEqual(states(road), ['failed', 'bounced']);
    smtp.script = {};
    change(road, 'UPDATE notice SET due_at = 0');
    await drain('--once').ended;
    assert.deepEqual(states(road), ['bounced', 'bounced']);
    assert.equal(smtp.messages.length, 2);
  },
);
