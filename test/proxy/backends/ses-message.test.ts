import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { thisMachine } from '../../../src/host/machine.ts';
import { BackendThrottledError, type Backend } from '../../../src/proxy/backends/backend.ts';
import { sesBackend } from '../../../src/proxy/backends/ses/ses-backend.ts';
import { deliverBy } from '../../support/deliver-by.ts';
import { ScriptedSes, sesError, TAKEN } from '../../support/scripted-ses.ts';

async function start(
  t: TestContext,
  { defaultSender }: { defaultSender?: string } = {},
): Promise<{ ses: ScriptedSes; backend: Backend }> {
  const ses = await ScriptedSes.start(t);
  return { ses, backend: sesBackend(ses.account, { ca: ses.server.ca, defaultSender }) };
}

/** Each result as `STATUS REASON`, or `unknown REASON`, in the order of the recipients. */
async function told(
  backend: Backend,
  delivery: Parameters<typeof deliverBy>[1],
): Promise<string[]> {
  const results = await deliverBy(backend, delivery);
  return delivery.recipients.map((recipient) => {
    const result = results.find((each) => each.recipient === recipient);
    if (!result) return 'nothing';
    return 'unknown' in result ? `unknown ${result.unknown}` : `${result.status} ${result.reason}`;
  });
}

const many = Array.from({ length: 120 }, (_, number) => `r${number}@example.org`);

test('the envelope is that of the delivery, and the header decides nothing (law 4)', async (t) => {
  const { ses, backend } = await start(t);
  const bytes = Buffer.from(
    'From: x@other.example\r\nTo: nobody@example.org\r\nBcc: z@z.org\r\n\r\ntext\r\n',
  );
  const recipients = ['a@example.org', 'b@bücher.example'];
  await told(backend, { sender: 'me@example.org', recipients, bytes });
  assert.deepEqual(ses.emails, [
    {
      sender: 'me@example.org',
      recipients: ['a@example.org', 'b@xn--bcher-kva.example'],
      bytes,
    },
  ]);
});

test('a message to more than 50 recipients is divided, and each call has its own answer (law 5)', async (t) => {
  const { ses, backend } = await start(t);
  ses.script = () =>
    ses.emails.length === 2 ? sesError(400, 'MessageRejected', 'Spam to r60') : TAKEN;
  const results = await told(backend, { recipients: many });
  assert.deepEqual(
    ses.emails.map(({ recipients }) => recipients.length),
    [50, 50, 20],
  );
  const statuses = results.map((result) => result.split(' ')[0]);
  assert.deepEqual([statuses[0], statuses[49]], ['2.0.0', '2.0.0']);
  assert.deepEqual([statuses[50], statuses[99]], ['5.6.0', '5.6.0']);
  assert.deepEqual([statuses[100], statuses[119]], ['2.0.0', '2.0.0']);
});

test('a quota that is full between two calls: those of the first are sent, the others are posted again (law 5, law 6)', async (t) => {
  const { ses, backend } = await start(t);
  const throttled = sesError(429, 'TooManyRequestsException', 'Maximum sending rate exceeded.');
  ses.script = () => (ses.emails.length > 1 ? throttled : TAKEN);
  const results = await told(backend, { recipients: many });
  assert.equal(ses.emails.length, 2);
  assert.match(results[0] ?? '', /^2\.0\.0 taken by Amazon SES as 0102/);
  assert.match(results[50] ?? '', /^4\.5\.3 Amazon SES answered 429 TooManyRequestsException/);
  assert.match(results[119] ?? '', /^4\.5\.3 /);
  await assert.rejects(told(backend, { recipients: many.slice(50) }), BackendThrottledError);
});

test('without an answer to a call, it alone is unknown (law 6)', async (t) => {
  const { ses, backend } = await start(t);
  ses.script = () => (ses.emails.length > 1 ? 'cut' : TAKEN);
  const results = await told(backend, { recipients: many });
  assert.match(results[49] ?? '', /^2\.0\.0 /);
  assert.match(results[50] ?? '', /^unknown Amazon SES at 127\.0\.0\.1:\d+: /);
  assert.match(results[100] ?? '', /^4\.5\.3 /);
});

test('a sender that is not verified is the account at first, and then this sender alone (law 5)', async (t) => {
  const { ses, backend } = await start(t);
  const failed =
    'Email address is not verified. The following identities failed the check in region';
  ses.script = ({ sender }) =>
    sender.endsWith('@example.org')
      ? TAKEN
      : sesError(400, 'MessageRejected', `${failed} EU-WEST-1: ${sender}`);
  const from = async (sender: string) => told(backend, { sender, recipients: ['a@example.org'] });
  await assert.rejects(from('x@other.example'), /failed the check.*see whether --ses-region/);
  assert.match((await from('me@example.org')).join(), /^2\.0\.0 /);
  assert.match((await from('x@other.example')).join(), /^5\.7\.1 /);
});

test('the null sender is the default sender, or refused alone with a reason (law 9)', async (t) => {
  const { ses, backend } = await start(t, { defaultSender: 'reports@example.org' });
  await told(backend, { sender: '', recipients: ['a@example.org'] });
  assert.equal(ses.emails[0]?.sender, 'reports@example.org');
  const { backend: without } = await start(t);
  const [refused = ''] = await told(without, { sender: '', recipients: ['a@example.org'] });
  assert.match(
    refused,
    /^5\.7\.1 Amazon SES takes no mail with the null sender.*no default sender/,
  );
});

test('an address whose local part is not ASCII is refused alone; as the sender it refuses the message', async (t) => {
  const { ses, backend } = await start(t);
  const recipients = ['jürgen@example.org', 'a@example.org'];
  const [first = '', second = ''] = await told(backend, { recipients });
  assert.match(first, /^5\.6\.7 /);
  assert.match(second, /^2\.0\.0 /);
  assert.deepEqual(ses.emails[0]?.recipients, ['a@example.org']);
  const sender = 'jürgen@example.org';
  assert.match(
    (await told(backend, { sender, recipients: ['a@example.org'] })).join(),
    /^5\.6\.7 sender: /,
  );
});

const YEAR_MS = 365 * 24 * 3600 * 1000;

for (const [type, text, aheadMs] of [
  ['InvalidSignatureException', 'Signature expired: it is now earlier than …', -YEAR_MS],
  ['InvalidSignatureException', 'Signature not yet current: it is still later than …', YEAR_MS],
  ['RequestTimeTooSkewed', 'The difference to the current time is too large.', YEAR_MS],
  ['RequestExpired', 'Request has expired.', -YEAR_MS],
] as const) {
  test(`a clock that is wrong delays no mail, for ${type} ${text.split(':')[0]}: the signature is made by the clock of Amazon (law 12)`, async (t) => {
    const ses = await ScriptedSes.start(t);
    let offMs: number = aheadMs;
    const machine = { ...thisMachine, wallNow: () => Date.now() + offMs };
    const backend = sesBackend(ses.account, { ca: ses.server.ca, machine });
    const answer = ses.server.script;
    const year = String(new Date().getUTCFullYear());
    ses.server.script = async (request) =>
      String(request.headers['x-amz-date']).startsWith(year)
        ? answer(request)
        : sesError(type === 'RequestExpired' ? 400 : 403, type, text);
    const send = async () => (await told(backend, { recipients: ['a@example.org'] })).join();
    assert.match(await send(), /^2\.0\.0 /);
    assert.match(await send(), /^2\.0\.0 /);
    assert.equal(ses.server.requests.length, 3, 'it is corrected once');
    offMs = 0; // Somebody sets the clock right.
    assert.match(await send(), /^2\.0\.0 /);
    assert.equal(ses.server.requests.length, 5);
  });
}
