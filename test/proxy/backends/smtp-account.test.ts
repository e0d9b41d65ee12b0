import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../../support/hand-in.ts';
import { lookInto } from '../../support/look-into.ts';
import { Road } from '../../support/road.ts';
import { ScriptedSmtp } from '../../support/scripted-smtp.ts';

test('a relay that has blocked the account fails nobody: an alarm is raised, and the mail waits for it (law 5)', async (t) => {
  const refusal = '550 5.7.705 Access denied, tenant has exceeded threshold';
  const smtp = await ScriptedSmtp.start(t, { message: refusal });
  const road = new Road(t);
  const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
  const proxy = await road.proxy(['--backend', 'smtp', '--smtp-security', 'none', ...relay]);
  const [id = ''] = handIn(road.spool, [{ recipients: ['a@example.org', 'b@example.org'] }]);
  const drain = road.drain();
  const [alarm] = await proxy.says(/^.*attention: no mail is taken: .*$/m);
  assert.ok(alarm.includes(refusal), alarm);
  await drain.says(/the proxy \S+ is down: the proxy answered 503 .*5\.7\.705/);
  const [waiting] = lookInto(road.spool).messages;
  assert.equal(waiting?.attempts, 0);
  assert.deepEqual(
    waiting.recipients.map(({ state }) => state),
    ['pending', 'pending'],
  );

  smtp.script = {};
  await drain.says(new RegExp(`${id}.*: attempt 1: .*sent`));
  await drain.says(/is back after/);
  await drain.stop();
  assert.equal(smtp.messages.length, 1);
  assert.equal(lookInto(road.spool).counters.sent, 1);
});
