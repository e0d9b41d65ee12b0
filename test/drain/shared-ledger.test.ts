import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import { inCheckout, run, start } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { signedPost } from '../support/signed-post.ts';
import { Wiretap } from '../support/wiretap.ts';

test(
  'an answer is lost and the proxy dies: another proxy with the same PostgreSQL ledger answers for it, and the message is sent once (law 6)',
  needs('postgres'),
  async (t) => {
    const server = await PostgresServer.start(t);
    const [road, other] = [new Road(t), new Road(t)];
    const proxy = await road.proxy([], server.environment, 'postgres:');
    await other.proxy([], server.environment, 'postgres:');
    const tap = await Wiretap.open(t, road.address);
    const drain = road.drain([], { GMAIL_PROXY_URL: `${tap.url} http://${other.address}/` });
    handIn(road.spool, [{}]);
    await drain.says(/> sent \(/);
    tap.answersToLose = Infinity;
    handIn(road.spool, [{}]);
    await drain.says(/> was sent before \(/);
    await proxy.stop('SIGKILL');
    handIn(road.spool, [{}]);
    await drain.says(/> sent \(/, 2);
    assert.deepEqual([road.deliveries().length, other.deliveries().length], [2, 1]);
    assert.equal(lookInto(road.spool).counters.sent, 3);
    assert.equal((await drain.stop()).code, 0);
  },
);

test(
  'the folder for App Engine and Cloud Run takes PORT, and a ledger in PostgreSQL on a Unix socket, and writes no file',
  needs('postgres'),
  async (t) => {
    const server = await PostgresServer.start(t);
    const smtp = await ScriptedSmtp.start(t);
    const folder = join(scratch(t), 'appengine');
    await run(t, process.execPath, [inCheckout('dist/bin/build-appengine.js'), folder]);
    symlinkSync(inCheckout('node_modules'), join(folder, 'node_modules'));
    const env = {
      ...server.environment,
      PORT: '0',
      GMAIL_SECRET_KEYS: 'a secret key',
      APPENGINE_MAILER_LEDGER: 'postgres:',
      APPENGINE_SMTP_HOST: '127.0.0.1',
      APPENGINE_SMTP_PORT: String(smtp.port),
      APPENGINE_SMTP_USE_TLS: 'false',
    };
    const program = start(t, 'npm', ['start'], { cwd: folder, env });
    const [, port] = await program.says(/proxy listens on 0\.0\.0\.0:(\d+), backend smtp/);
    const post = { key: 'a secret key', sender: 's@example.com', bytes: 'Subject: x\n\nx\n' };
    assert.equal((await signedPost(`127.0.0.1:${port}`, post)).status, 200);
    assert.equal(smtp.messages.length, 1);
    const [{ count } = { count: '' }] = await server.query<{ count: string }>(
      "SELECT count(*) FROM recipient WHERE state = 'sent'",
    );
    assert.equal(count, '1');
    await program.stop();
    assert.match(program.stderr, /^proxy on 0\.0\.0\.0:\d+ stopped$/m);
  },
);
