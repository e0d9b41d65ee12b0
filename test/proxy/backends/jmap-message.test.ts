import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { thisMachine } from '../../../src/host/machine.ts';
import { limits } from '../../../src/limits.ts';
import { BackendUnavailableError, type Backend } from '../../../src/proxy/backends/backend.ts';
import { jmapBackend } from '../../../src/proxy/backends/jmap/jmap-backend.ts';
import { deliverBy } from '../../support/deliver-by.ts';
import { ScriptedJmap } from '../../support/scripted-jmap.ts';

async function start(t: TestContext): Promise<{ jmap: ScriptedJmap; backend: Backend }> {
  const jmap = await ScriptedJmap.start(t);
  const machine = {
    ...thisMachine,
    timer: (ms: number, ...rest: [() => void, { idle?: boolean }?]) =>
      thisMachine.timer(ms === limits.jmapLookMs ? 0 : ms, ...rest),
  };
  return { jmap, backend: jmapBackend(jmap.account, { ca: jmap.server.ca, machine }) };
}

/** The status of each recipient, in the order of the results; `unknown` without one. */
async function told(
  backend: Backend,
  delivery: Parameters<typeof deliverBy>[1],
): Promise<string[]> {
  const results = await deliverBy(backend, delivery);
  return results.map((result) => {
    const status = 'status' in result ? result.status : 'unknown';
    return `${status} ${result.recipient}`;
  });
}

const one = { recipients: ['a@example.org'] };
const SENT = ['2.0.0 a@example.org'];

test('the envelope is that of the delivery, the email is destroyed, and the session is read once (law 4)', async (t) => {
  const { jmap, backend } = await start(t);
  const bytes = Buffer.from(
    'From: x@other.example\r\nTo: nobody@example.org\r\nBcc: z@z.org\r\n\r\ntext\r\n',
  );
  const recipients = ['a@example.org', 'b@bücher.example'];
  await told(backend, { sender: 'Sender@Example.org', recipients, bytes });
  await told(backend, { sender: 'anybody@example.org', recipients: ['a@example.org'], bytes });
  await told(backend, { sender: 'x@else.example', recipients: ['a@example.org'], bytes });
  await told(backend, { sender: '', recipients: ['a@example.org'], bytes });
  assert.deepEqual(jmap.submitted[0], {
    sender: 'Sender@example.org',
    recipients: ['a@example.org', 'b@xn--bcher-kva.example'],
    bytes,
    identityId: 'i3',
  });
  assert.deepEqual(
    jmap.submitted.map(({ sender, identityId }) => `${identityId} ${sender}`),
    ['i3 Sender@example.org', 'i2 anybody@example.org', 'i1 x@else.example', 'i1 '],
    'the identity of the sender, of its domain, or the first',
  );
  assert.equal(jmap.emails.size, 0);
  assert.equal(jmap.server.requests.filter(({ method }) => method === 'GET').length, 1);
});

for (const remembers of [true, false]) {
  const which = remembers ? 'knows the submission' : 'has forgotten it, and destroyed the email';
  test(`an answer is lost, and the server ${which}: it was sent, and not again (law 6)`, async (t) => {
    const { jmap, backend } = await start(t);
    jmap.remembers = remembers;
    jmap.after['EmailSubmission/set'] = () => 'cut';
    jmap.before['Email/set'] = () => 'cut'; // A message that was sent is not to be destroyed.
    assert.deepEqual(await told(backend, one), SENT);
    assert.equal(jmap.submitted.length, 1);
  });
}

test('an answer is lost and nothing was sent: the email is destroyed, and the mail is posted again (law 6)', async (t) => {
  const { jmap, backend } = await start(t);
  jmap.before['EmailSubmission/set'] = () => 'cut';
  await assert.rejects(told(backend, one), (error: Error) => {
    assert.ok(error instanceof BackendUnavailableError);
    assert.match(error.message, /it was not sent$/);
    return true;
  });
  assert.equal(jmap.emails.size, 0);
  jmap.before = {};
  assert.deepEqual(await told(backend, one), SENT);
  assert.equal(jmap.submitted.length, 1);
});

test('a look-up that fails is made again; where none is answered, it is unknown (law 6)', async (t) => {
  const { jmap, backend } = await start(t);
  let looks = 0;
  jmap.after['EmailSubmission/set'] = () => ({ status: 502 });
  jmap.before['EmailSubmission/query'] = () => {
    looks += 1;
    return looks === 1 ? 'cut' : undefined;
  };
  assert.deepEqual(await told(backend, one), SENT);
  jmap.before['EmailSubmission/query'] = () => 'cut';
  assert.deepEqual(await told(backend, one), ['unknown a@example.org']);
});

test('an email that is gone says nothing while the server cannot say whether it was submitted (law 6)', async (t) => {
  const { jmap, backend } = await start(t);
  jmap.fails = 'EmailSubmission/query';
  jmap.before['EmailSubmission/set'] = () => {
    jmap.emails.clear(); // By a person, or by a rule of the mailbox.
    return 'cut';
  };
  assert.deepEqual(await told(backend, one), ['unknown a@example.org']);
  assert.deepEqual(jmap.submitted, []);
});

test('a submission that ends between look-up and destruction was sent (law 6)', async (t) => {
  const { jmap, backend } = await start(t);
  jmap.before['EmailSubmission/set'] = () => 'cut';
  jmap.after['EmailSubmission/query'] = () => {
    jmap.after = {};
    const answer = jmap.lastAnswer;
    jmap.emails.clear(); // As the server does after sending.
    return answer;
  };
  assert.deepEqual(await told(backend, one), SENT);
});

test('recipients that are not valid are refused alone, all others get the message once (law 5)', async (t) => {
  const { jmap, backend } = await start(t);
  jmap.verdict = ({ recipients }) => {
    const invalidRecipients = recipients.filter((to) => to.startsWith('bad'));
    return invalidRecipients.length > 0
      ? { type: 'invalidRecipients', invalidRecipients }
      : undefined;
  };
  const recipients = ['bad1@example.org', 'a@example.org', 'bad2@bücher.example'];
  assert.deepEqual(await told(backend, { recipients }), [
    '2.0.0 a@example.org',
    '5.1.3 bad1@example.org',
    '5.1.3 bad2@bücher.example',
  ]);
  assert.deepEqual(
    jmap.submitted.map((each) => each.recipients),
    [['a@example.org']],
  );
  assert.equal(jmap.emails.size, 0);
});

test('a recipient that is named along with one that is refused for good may be refused for now (law 5)', async (t) => {
  const { jmap, backend } = await start(t);
  // As Cyrus does.
  jmap.verdict = ({ recipients }) => {
    const invalidRecipients = recipients.filter((to) => !to.startsWith('a'));
    if (invalidRecipients.some((to) => to.startsWith('bad'))) {
      return { type: 'invalidRecipients', invalidRecipients };
    }
    return invalidRecipients.length > 0 ? { type: 'forbiddenToSend' } : undefined;
  };
  const recipients = ['bad@example.org', 'a1@example.org', 'later@example.org', 'a2@example.org'];
  assert.deepEqual((await told(backend, { recipients })).toSorted(), [
    '2.0.0 a1@example.org',
    '2.0.0 a2@example.org',
    '4.3.0 later@example.org',
    '5.1.3 bad@example.org',
  ]);
  const reached = jmap.submitted.flatMap((each) => each.recipients);
  assert.deepEqual(reached, ['a1@example.org', 'a2@example.org']);
  assert.equal(jmap.emails.size, 0);
});

test('one recipient that is refused for now holds up no other, and an account that may not send is asked a few times (law 5)', async (t) => {
  const { jmap, backend } = await start(t);
  const recipients = Array.from({ length: 100 }, (_, number) => `r${number}@example.org`);
  const later = ['r0@example.org', 'r63@example.org', 'r64@example.org'];
  let submissions = 0;
  jmap.verdict = (submission) => {
    submissions += 1;
    const isLater = submission.recipients.some((to) => later.includes(to));
    return isLater ? { type: 'forbiddenToSend' } : undefined;
  };
  const deferred = (await told(backend, { recipients })).filter((line) => line.startsWith('4.3.0'));
  assert.deepEqual(
    deferred,
    later.map((recipient) => `4.3.0 ${recipient}`),
  );
  const reached = jmap.submitted.flatMap((each) => each.recipients);
  assert.deepEqual([reached.length, new Set(reached).size], [97, 97]);

  submissions = 0;
  jmap.verdict = () => {
    submissions += 1;
    return { type: 'forbiddenToSend' };
  };
  const refused = await told(backend, { recipients });
  assert.ok(refused.every((line) => line.startsWith('4.3.0')));
  assert.equal(refused.length, 100);
  assert.ok(submissions < 30, String(submissions));
});

test('a server that fails in the middle of several submissions: those that were sent are (law 6)', async (t) => {
  const { jmap, backend } = await start(t);
  jmap.verdict = ({ recipients }) => {
    if (recipients.length > 1) return { type: 'forbiddenToSend' };
    return jmap.submitted.length > 0 ? { type: 'serverUnavailable' } : undefined;
  };
  const recipients = ['a@example.org', 'b@example.org', 'c@example.org'];
  assert.deepEqual(await told(backend, { recipients }), [
    '2.0.0 a@example.org',
    '4.5.3 b@example.org',
    '4.5.3 c@example.org',
  ]);
  assert.equal(jmap.submitted.length, 1);
});

test('recipients that are too many for the server get several submissions', async (t) => {
  const { jmap, backend } = await start(t);
  const recipients = Array.from({ length: 7 }, (_, number) => `r${number}@example.org`);
  jmap.verdict = (submission) =>
    submission.recipients.length > 3 ? { type: 'tooManyRecipients', maxRecipients: 3 } : undefined;
  const statuses = (await told(backend, { recipients })).map((result) => result.split(' ')[0]);
  assert.deepEqual(new Set(statuses), new Set(['2.0.0']));
  assert.deepEqual(
    jmap.submitted.map((each) => each.recipients.length),
    [3, 3, 1],
  );
  assert.equal(jmap.emails.size, 0);
});

test('a refusal is about the message or about the account, and leaves no email behind (law 5)', async (t) => {
  const { jmap, backend } = await start(t);
  const refused = async (type: string) => {
    jmap.verdict = () => ({ type });
    return (await told(backend, one)).join();
  };
  assert.match(await refused('forbiddenMailFrom'), /^5\.7\.1 /);
  assert.match(await refused('invalidEmail'), /^5\.6\.0 /);
  assert.match(await refused('somethingNew'), /^4\.3\.0 /);
  assert.match(await refused('forbiddenToSend'), /^4\.3\.0 /);
  await assert.rejects(refused('forbidden'), BackendUnavailableError);
  jmap.verdict = () => ({ type: 'serverUnavailable', method: true });
  await assert.rejects(told(backend, one), BackendUnavailableError);
  jmap.verdict = () => undefined;
  jmap.importError = { type: 'overQuota' };
  await assert.rejects(told(backend, one), BackendUnavailableError);
  assert.equal(jmap.emails.size, 0);
  assert.deepEqual(jmap.submitted, []);
});

test('the null sender is sent, or where it is forbidden the default sender, or it is refused alone with a reason (law 9)', async (t) => {
  const { jmap } = await start(t);
  const { ca } = jmap.server;
  const backend = jmapBackend(jmap.account, { ca, defaultSender: 'noreply@example.org' });
  const report = { sender: '', recipients: ['a@example.org', 'b@example.org'] };
  const senders = () => jmap.submitted.splice(0).map(({ sender }) => sender);
  const sent = ['2.0.0 a@example.org', '2.0.0 b@example.org'];
  assert.deepEqual(await told(backend, report), sent);
  assert.deepEqual(senders(), ['']);
  jmap.verdict = ({ sender }) => (sender === '' ? { type: 'forbiddenMailFrom' } : undefined);
  assert.deepEqual(await told(backend, report), sent);
  assert.deepEqual(senders(), ['noreply@example.org']);
  const without = await deliverBy(jmapBackend(jmap.account, { ca }), report);
  for (const result of without) {
    assert.ok('status' in result);
    assert.match(`${result.status} ${result.reason}`, /^5\.7\.1 .*forbiddenMailFrom/);
  }
  jmap.verdict = () => ({ type: 'forbiddenMailFrom' });
  const refused = ['5.7.1 a@example.org', '5.7.1 b@example.org'];
  assert.deepEqual(await told(backend, report), refused, 'not for ever');
  assert.deepEqual(senders(), []);
  assert.equal(jmap.emails.size, 0);
});

test('a session stays where the server only throttles, and is read again after other trouble', async (t) => {
  const { jmap, backend } = await start(t);
  const sessions = () => jmap.server.requests.filter(({ method }) => method === 'GET').length;
  for (const [type, read] of [
    ['rateLimit', 1],
    ['rateLimit', 1],
    ['forbidden', 1],
    ['forbidden', 2],
  ] as const) {
    jmap.verdict = () => ({ type });
    await assert.rejects(told(backend, one), BackendUnavailableError);
    assert.equal(sessions(), read, type);
  }
});

test('an SMTP error of Cyrus without a refusal may mean that the message was sent (law 6)', async (t) => {
  const { jmap, backend } = await start(t);
  const answered = async (description: string) => {
    jmap.verdict = () => ({ type: 'smtpProtocolError', description });
    return (await told(backend, one)).join();
  };
  assert.equal(await answered('5.7.1 sender refused'), '4.3.0 a@example.org');
  assert.equal(await answered('4.3.2 not now'), '4.3.0 a@example.org');
  assert.equal(await answered('go'), 'unknown a@example.org');
  assert.equal(await answered('2.1.5 ok'), 'unknown a@example.org');
  assert.equal(jmap.emails.size, 0);
});

test('an email that is there already is submitted and stays', async (t) => {
  const { jmap, backend } = await start(t);
  jmap.emails.set('E-of-a-person', Buffer.from('Subject: x\n\ntext\n'));
  jmap.importError = { type: 'alreadyExists', existingId: 'E-of-a-person' };
  assert.deepEqual(await told(backend, one), SENT);
  assert.deepEqual([...jmap.emails.keys()], ['E-of-a-person']);
  jmap.after['EmailSubmission/set'] = () => 'cut';
  assert.deepEqual(await told(backend, one), ['unknown a@example.org']);
  assert.deepEqual([...jmap.emails.keys()], ['E-of-a-person']);
});

test('before the submission nothing is sent, whatever breaks (law 5)', async (t) => {
  const { jmap, backend } = await start(t);
  for (const step of ['upload', 'Identity/get', 'Email/import']) {
    for (const answer of ['cut', { status: 503 }, { status: 200, body: 'not JSON' }] as const) {
      jmap.before = { [step]: () => answer };
      await assert.rejects(told(backend, one), BackendUnavailableError, step);
    }
  }
  jmap.before = { upload: () => ({ status: 413 }) };
  assert.deepEqual(await told(backend, one), ['5.3.4 a@example.org']);
  jmap.before = {};
  assert.deepEqual(await told(backend, one), SENT);
});

test('a session that is elsewhere is not followed, and the reason says where it is', async (t) => {
  const { jmap, backend } = await start(t);
  const location = 'https://api.example.org/jmap/session';
  jmap.server.script = () => ({ status: 302, headers: { location } });
  await assert.rejects(told(backend, one), /answered 302 to https:\/\/api.*set --jmap-url to/);
});

test('a token goes to no address without TLS, whatever the session names (law 10)', async (t) => {
  const { jmap, backend } = await start(t);
  const session = jmap.server.script;
  jmap.server.script = async (request) => {
    const reply = await session(request);
    if (request.method !== 'GET' || typeof reply === 'string') return reply;
    return { body: { ...(reply.body as object), apiUrl: 'http://jmap.example.org/api' } };
  };
  await assert.rejects(told(backend, one), /names no https: URL/);
});
