import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

test("a relay's refusal reaches the sender as its SMTP reply, with the relay's name", async (t) => {
  const road = new Road(t);
  const relay = await ScriptedSmtp.start(t, {
    RCPT: (line) => (line.includes('bad') ? '550 5.1.1 no such user' : '250 ok'),
  });
  const exim = await ScriptedSmtp.start(t);
  const to = ['--smtp-host', '127.0.0.1', '--smtp-port', String(relay.port)];
  await road.proxy(['--backend', 'smtp', ...to, '--smtp-security', 'none']);
  handIn(road.spool, [{ recipients: ['ok@x.example', 'bad@x.example'] }]);
  const env = { APPENGINE_MAILER_NOTICE_SMTP: `127.0.0.1:${exim.port}` };
  assert.equal((await road.drain(['--once'], env).ended).code, 0);

  const report = exim.messages[0]?.bytes.toString() ?? '';
  const lines = report.split('\r\n');
  const at = lines.indexOf('Final-Recipient: rfc822; bad@x.example');
  assert.deepEqual(lines.slice(at + 1, at + 5), [
    'Action: failed',
    'Status: 5.1.1',
    'Remote-MTA: dns; [127.0.0.1]',
    'Diagnostic-Code: smtp; 550 5.1.1 no such user',
  ]);
  assert.match(report, /The mail server \[127\.0\.0\.1\] answered: 550 5\.1\.1 no such user/);
  assert.doesNotMatch(report, /ok@x\.example/);
});
