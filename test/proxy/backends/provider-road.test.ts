import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { handIn } from '../../support/hand-in.ts';
import { lookInto } from '../../support/look-into.ts';
import { Road } from '../../support/road.ts';
import { ScriptedJmap } from '../../support/scripted-jmap.ts';
import { ScriptedMailgun } from '../../support/scripted-mailgun.ts';
import { ScriptedSes } from '../../support/scripted-ses.ts';
import { signedPost } from '../../support/signed-post.ts';

test('a provider that refuses our key fails nobody: an alarm is raised, and the mail waits for a new one (law 5)', async (t) => {
  const mailgun = await ScriptedMailgun.start(t);
  const road = new Road(t);
  const { environment } = mailgun;
  mailgun.apiKey = 'another';
  const proxy = await road.proxy(mailgun.options, environment);
  const [id = ''] = handIn(road.spool, [{ recipients: ['a@example.org', 'b@example.org'] }]);
  const drain = road.drain();
  const [alarm] = await proxy.says(/^.*attention: no mail is taken: .*$/m);
  assert.match(alarm, /Mailgun answered 401/);
  await drain.says(/the proxy \S+ is down: the proxy answered 503 .*Mailgun answered 401/);
  const [waiting] = lookInto(road.spool).messages;
  assert.equal(waiting?.attempts, 0);
  await proxy.stop();
  await drain.stop();
  assert.doesNotMatch(proxy.stderr + drain.stderr, /key-EXAMPLE/);

  await road.proxy(mailgun.options, mailgun.environment);
  const next = road.drain(); // The first would wait for a minute, as the provider may.
  await next.says(new RegExp(`${id}.*: attempt 1: .*sent`));
  await next.stop();
  assert.deepEqual(
    mailgun.messages.map(({ recipients }) => recipients),
    [['a@example.org', 'b@example.org']],
  );
});

test('a large message takes hardly more memory than its own bytes, whatever the provider', async (t) => {
  const peakOf = async (
    size: number,
    options: string[],
    environment: Record<string, string> = {},
  ) => {
    const bytes = Buffer.alloc(size, 'a line of some characters\n');
    const road = new Road(t);
    const proxy = await road.proxy(options, environment);
    const answer = await signedPost(road.address, { key: road.key, bytes });
    assert.match(answer.body.toString(), /"status":"2\.0\.0"/);
    const shown = readFileSync(`/proc/${proxy.child.pid}/status`, 'utf8');
    await proxy.stop();
    return Number(/VmHWM:\s+(\d+) kB/.exec(shown)?.[1]) / 1024;
  };
  // Mailgun takes no more than 25 MiB, with CRLF as line ends.
  for (const [provider, size] of [
    [ScriptedSes, 30_000_000],
    [ScriptedMailgun, 24 * 1024 * 1024],
    [ScriptedJmap, 30_000_000],
  ] as const) {
    const discarded = await peakOf(size, ['--backend', 'discard']);
    const { options, environment } = await provider.start(t);
    const sent = await peakOf(size, options, environment);
    const figures = `${Math.round(sent)} MiB, and ${Math.round(discarded)} without a provider`;
    t.diagnostic(`${provider.name}: ${figures}`);
    assert.ok(sent < discarded + 48, figures);
  }
});
