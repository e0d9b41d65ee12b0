import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { Wiretap } from '../support/wiretap.ts';

// Postal #3488: a request whose answer was lost was made again, and the mail was sent twice.
test('an answer is lost after the proxy sent the mail: the next post gets the same verdict, and one mail goes out (law 6)', async (t) => {
  const road = new Road(t);
  const relay = await ScriptedSmtp.start(t);
  const smtp = [
    '--smtp-host',
    '127.0.0.1',
    '--smtp-port',
    String(relay.port),
    '--smtp-security',
    'none',
  ];
  await road.proxy(['--backend', 'smtp', ...smtp]);
  const tap = await Wiretap.open(t, road.address);
  const ids = handIn(road.spool, [{}, { recipients: ['a@example.org', 'b@example.org'] }, {}]);
  // Of the first post, and of the probe or the second try that follows.
  tap.answersToLose = 2;
  const drain = road.drain([], { GMAIL_PROXY_URL: tap.url });
  await drain.says(/> sent \(2\./, 2);
  await drain.says(/> was sent before \(2\./);
  assert.equal((await drain.stop()).code, 0);
  assert.equal(tap.answersToLose, 0);
  assert.equal(relay.messages.length, 3, 'each went out once');
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ id, state }) => [id, state]),
    ids.map((id) => [id, 'sent']),
  );
});
