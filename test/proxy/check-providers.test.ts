import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { closedPort } from '../support/closed-port.ts';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedJmap } from '../support/scripted-jmap.ts';
import { ScriptedMailgun } from '../support/scripted-mailgun.ts';
import { ScriptedSes, sesError } from '../support/scripted-ses.ts';

/** The lines of `proxy check` about the provider, as it prints them. */
async function check(
  road: Road,
  options: readonly string[],
  env: Record<string, string>,
): Promise<string> {
  const words = ['proxy', 'check', '--ledger', join(road.folder, 'ledger.db'), ...options];
  const environment = { GMAIL_SECRET_KEY: 'a secret key of 24 octets', ...env };
  const program = appengineMailer(road.t, words, { cwd: road.folder, env: environment, input: '' });
  const { code, stdout, stderr } = await program.ended;
  const said = stdout.toString();
  assert.equal(code, said.includes('FAULT') ? 1 : 0, stderr);
  assert.doesNotMatch(said + stderr, /wJalrXUtnFEMI|key-EXAMPLE|token-EXAMPLE/);
  return said.slice(said.indexOf('connection:') - 6);
}

const FINE = /^ok {4}connection: the server 127\.0\.0\.1:\d+ answers\nok {4}tls: .*encrypted.*\n/;

test('proxy check asks Amazon SES whether the keys count and the account may send, and sends nothing', async (t) => {
  const ses = await ScriptedSes.start(t);
  const road = new Road(t);
  const found = async () => check(road, ses.options, ses.environment);
  const fine = await found();
  assert.match(fine, FINE);
  assert.match(fine, /^ok {4}login: it takes the keys, and the account may send$/m);
  ses.permission = { body: { SendingEnabled: true, ProductionAccessEnabled: false } };
  assert.match(await found(), /^NOTE {2}login: .*in the sandbox\. To do: .*production access/m);
  ses.permission = sesError(403, 'AccessDeniedException', 'not authorized: ses:GetAccount');
  assert.match(await found(), /^NOTE {2}login: it takes the keys; .*403/m);
  const { environment } = ses;
  ses.keys = { ...ses.keys, secret: 'another' };
  assert.match(
    await check(road, ses.options, environment),
    /^FAULT login: Amazon SES answered 403 InvalidSignatureException/m,
  );
  assert.deepEqual(ses.emails, []);
});

test('proxy check asks Mailgun by a message to nobody whether the key counts', async (t) => {
  const mailgun = await ScriptedMailgun.start(t);
  const road = new Road(t);
  const fine = await check(road, mailgun.options, mailgun.environment);
  assert.match(fine, FINE);
  assert.match(fine, /^ok {4}login: it takes the key for mail\.example\.org$/m);
  const { environment } = mailgun;
  mailgun.apiKey = 'another';
  assert.match(
    await check(road, mailgun.options, environment),
    /^FAULT login: Mailgun answered 401\. To do: .*MAILGUN_API_KEY/m,
  );
  assert.deepEqual(mailgun.messages, []);
});

test('proxy check reads the session of a JMAP server', async (t) => {
  const jmap = await ScriptedJmap.start(t);
  const road = new Road(t);
  const fine = await check(road, jmap.options, jmap.environment);
  assert.match(fine, FINE);
  assert.match(
    fine,
    /^ok {4}login: the account may send as other@example\.org, \*@example\.org, /m,
  );
  const environment = { ...jmap.server.environment, JMAP_PASSWORD: jmap.token };
  const withPassword = [...jmap.options, '--jmap-user', 'me@example.org'];
  assert.match(await check(road, withPassword, environment), /^ok {4}login:/m);
  jmap.token = 'another';
  assert.match(
    await check(road, withPassword, environment),
    /^FAULT login: .*answered 401 .*To do: .*JMAP_TOKEN/m,
  );
});

test('proxy check tells a provider that is not there from a certificate that is not trusted', async (t) => {
  const mailgun = await ScriptedMailgun.start(t);
  const road = new Road(t);
  const distrusted = await check(road, mailgun.options, { MAILGUN_API_KEY: 'key-EXAMPLE' });
  assert.match(
    distrusted,
    /^ok {4}connection: .*\nFAULT tls: .*self-signed certificate.*\n\? {5}login/m,
  );
  const nowhere = ['--mailgun-url', `https://127.0.0.1:${await closedPort()}/`];
  const closed = [...mailgun.options.slice(0, 4), ...nowhere];
  const found = await check(road, closed, { MAILGUN_API_KEY: 'key-EXAMPLE' });
  assert.match(found, /^FAULT connection: .*ECONNREFUSED.*\n\? {5}tls.*\n\? {5}login/m);
});
