import assert from 'node:assert/strict';
import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { ServiceManager } from '../support/service-manager.ts';
import { signedPost } from '../support/signed-post.ts';

test('a repeat that the ledger answers is told as sent before, and counts as no second sending', async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t, 400);
  const proxy = await road.proxy([], manager.environment);
  const id = 'a'.repeat(32);
  const post = async (...recipients: string[]) =>
    signedPost(road.address, { key: road.key, id, recipients });
  const first = JSON.parse((await post('r@x.example')).body.toString()) as { verdicts: object[] };
  await proxy.says(/<r@x\.example> sent \(2\.0\.0 /);
  const again = await post('r@x.example', 'new@x.example');
  const { verdicts } = JSON.parse(again.body.toString()) as { verdicts: unknown[] };
  const repeated = first.verdicts.map((verdict) => ({ ...verdict, sent_before: true }));
  assert.deepEqual(verdicts.slice(0, 1), repeated, 'status and reason are the same');
  await proxy.says(/<r@x\.example> was sent before \(2\.0\.0 .*; <new@x\.example> sent \(2\.0\.0 /);
  await manager.hears(/: 2 sent, 0 deferred, 0 refused, 1 sent before/);
  assert.equal(proxy.stderr.match(/<r@x\.example> sent /g)?.length, 1);
});

test('drain says of a message that the proxy had sent already that it was sent before, in its journal and in explain', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const [id = ''] = handIn(road.spool, [{ recipients: ['r@x.example'] }]);
  const old = join(road.folder, 'backup');
  cpSync(road.spool, old, { recursive: true });
  const first = await road.drain(['--once']).ended;
  assert.match(first.stderr, /: attempt 1: <r@x\.example> sent \(2\.0\.0 /);
  // A spool that was restored from a backup.
  rmSync(road.spool, { recursive: true });
  renameSync(old, road.spool);
  const again = await road.drain(['--once']).ended;
  assert.match(again.stderr, /: attempt 1: <r@x\.example> was sent before \(2\.0\.0 /);
  assert.doesNotMatch(again.stderr, /> sent /);
  const explained = await road.queue('explain', id);
  assert.match(explained.stdout.toString(), /<r@x\.example> was sent before \(2\.0\.0 /);
  assert.equal((await road.stats())['sent'], 1);
  await proxy.says(/<r@x\.example> was sent before/);
  assert.equal(road.deliveries().length, 1);
});

test('recipients above the limit of one post are told when they are sent, and never as deferred', async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t, 400);
  const proxy = await road.proxy(['--max-recipients', '2'], manager.environment);
  const recipients = Array.from({ length: 5 }, (_, number) => `r${number}@x.example`);
  handIn(road.spool, [{ recipients }]);
  assert.equal((await road.drain(['--once']).ended).code, 0);
  await proxy.says(/<r4@x\.example> sent/);
  await manager.hears(/: 5 sent, 0 deferred, 0 refused/);
  assert.doesNotMatch(proxy.stderr, /deferred/);
  for (const recipient of recipients) {
    assert.equal(proxy.stderr.split(`<${recipient}>`).length, 2, recipient);
  }
});

test('recipients that the relay puts off to another transaction are not told as deferred, unless all are', async (t) => {
  const road = new Road(t);
  const relay = await ScriptedSmtp.start(t, {
    RCPT: (line) => (line.includes('more') ? '452 4.5.3 too many recipients' : '250 ok'),
  });
  const to = ['--smtp-host', '127.0.0.1', '--smtp-port', String(relay.port)];
  const proxy = await road.proxy(['--backend', 'smtp', ...to, '--smtp-security', 'none']);
  await signedPost(road.address, { key: road.key, recipients: ['a@x.example', 'more@x.example'] });
  await proxy.says(/<a@x\.example> sent/);
  assert.doesNotMatch(proxy.stderr, /deferred/);
  await signedPost(road.address, { key: road.key, recipients: ['more@x.example'] });
  await proxy.says(/<more@x\.example> deferred \(4\.5\.3 /);
});
