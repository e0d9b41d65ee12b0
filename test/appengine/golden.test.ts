import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { unlimited } from '../../src/proxy/backends/backend.ts';
import { appengineBackend } from '../../src/proxy/backends/appengine/appengine-backend.ts';
import { conformance } from '../support/conformance.ts';
import { inCheckout } from '../support/program.ts';
import { readCall, ScriptedApiHost } from '../support/scripted-api-host.ts';
import { deliverWith } from '../support/send-with.ts';

conformance('appengine', ['loseAnswers', 'hang', 'vanish'], async (t) => {
  const api = await ScriptedApiHost.start(t);
  const backend = appengineBackend(
    api.host,
    proxyJournal(() => {}),
  );
  return {
    // The suite's messages have no sender, with whom the Mail API can do nothing.
    backend: unlimited(async (delivery) =>
      deliverWith(backend, { ...delivery, sender: 's@example.com' }),
    ),
    options: ['--backend', 'appengine'],
    environment: api.environment,
    arrived: () =>
      api.calls.map(({ message: { To, Cc, Bcc } }) => [...To, ...Cc, ...Bcc].toSorted()),
    loseAnswers: () => {
      api.script = () => 'cut';
    },
    hang: async () =>
      new Promise((resolve) => {
        api.script = () => {
          resolve();
          return 'hang';
        };
      }),
    vanish: () => api.close(),
  };
});

const golden: Record<string, { sender: string; message: string }> = {
  'google-go-client': {
    sender: 'ops@example.com',
    message: [
      'From: ops@example.com',
      'To: a@example.net, b@example.net',
      'Subject: from google go',
      'References: <1@x>',
      ...related('AID/'),
    ].join('\n'),
  },
  'google-python-client': {
    sender: 'ops@example.com',
    message: [
      'From: Ops <ops@example.com>',
      'To: a@example.net, b@example.net',
      'Reply-To: r@example.org',
      'Subject: from google python',
      'REFERENCES: <1@x>',
      ...related(Buffer.from(Array.from({ length: 256 }, (_, octet) => octet)).toString('base64')),
    ].join('\n'),
  },
};

function related(base64: string): string[] {
  return [
    'Content-Type: multipart/alternative; boundary=b',
    '',
    '--b',
    'Content-Type: text/plain; charset=iso-8859-1',
    'Content-Transfer-Encoding: quoted-printable',
    '',
    'caf=E9',
    '--b',
    'Content-Type: multipart/related; boundary=c',
    '',
    '--c',
    'Content-Type: text/html; charset=utf-8',
    '',
    '<i>x</i>',
    '--c',
    'Content-Type: image/png; name=x.png',
    'Content-Transfer-Encoding: base64',
    'Content-ID: <a@b>',
    '',
    base64,
    '--c--',
    '--b--',
    '',
  ];
}

for (const [name, { sender, message }] of Object.entries(golden)) {
  test(`appengine: a call is the same as that of ${name}`, async (t) => {
    const api = await ScriptedApiHost.start(t);
    const backend = appengineBackend(
      api.host,
      proxyJournal(() => {}),
    );
    const recipients = ['a@example.net', 'b@example.net'];
    const delivery = {
      key: '',
      id: 'x',
      sender,
      recipients,
      bytes: Buffer.from(message),
    };
    const headers = { 'x-appengine-api-ticket': 'tkt' };
    const deliver = async () => deliverWith(backend, delivery);
    const results = await backend.withinRequest?.(headers, deliver);
    assert.deepEqual(
      results,
      recipients.map((recipient) => ({
        recipient,
        status: '2.0.0',
        reason: 'taken by the Mail API',
      })),
    );
    const body = readFileSync(inCheckout(`test/appengine/golden/${name}.bin`));
    assert.deepEqual(api.calls, [readCall(body)]);
    assert.equal(api.calls[0]?.message.Attachment.length, 1);

    const [request] = api.requests;
    assert.equal(request?.line, 'POST /rpc_http');
    const google = ['content-type', 'x-google-rpc-service-endpoint', 'x-google-rpc-service-method'];
    assert.deepEqual(
      google.map((header) => request?.headers[header]),
      ['application/octet-stream', 'app-engine-apis', '/VMRemoteAPI.CallRemoteAPI'],
    );
    assert.match(String(request?.headers['x-google-rpc-service-deadline']), /^60$/);
    assert.ok(Number(request?.headers['content-length']) > 0);
  });
}
