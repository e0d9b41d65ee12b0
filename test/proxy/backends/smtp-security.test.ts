import assert from 'node:assert/strict';
import dns from 'node:dns';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import test, { type TestContext } from 'node:test';
import type { SMTPServerOptions } from 'smtp-server';
import { smtpBackend } from '../../../src/proxy/backends/smtp/smtp-backend.ts';
import { certificate } from '../../support/certificate.ts';
import { needs } from '../../support/needs.ts';
import { npmSmtp } from '../../support/npm-smtp.ts';
import { scratch } from '../../support/scratch.ts';
import { ScriptedSmtp } from '../../support/scripted-smtp.ts';
import { sendWith } from '../../support/send-with.ts';

const SENT = /^r@example\.org 2\.0\.0 /;

/** A server with a certificate, and that as an authority. */
async function withCertificate(t: TestContext, options: SMTPServerOptions, name = 'localhost') {
  const { key, cert } = await certificate(t, scratch(t), name);
  const server = await npmSmtp(t, { key, cert, ...options });
  return { ...server, ca: [cert.toString()] };
}

for (const security of ['starttls', 'tls'] as const) {
  test(
    `${security}: the certificate is verified, with its name; the trouble is the relay's (law 5)`,
    needs('openssl'),
    async (t) => {
      const secure = security === 'tls';
      const { messages, relay, ca } = await withCertificate(t, { secure });
      const told = async (but: Parameters<typeof relay>[0]) =>
        (await sendWith(smtpBackend(relay({ security, ...but })))).join();
      assert.match(await told({}), /^unavailable: the relay .*self-signed certificate/);
      assert.match(await told({ ca }), SENT, 'by its address');
      assert.match(await told({ ca, host: 'localhost' }), SENT, 'by its name');
      const other = await withCertificate(t, { secure }, 'other.example');
      const wrong = other.relay({ security, ca: other.ca, host: 'localhost' });
      assert.match((await sendWith(smtpBackend(wrong))).join(), /^unavailable: .*altnames/);
      assert.deepEqual([messages.length, other.messages.length], [2, 0]);
    },
  );
}

test('starttls: a relay that does not offer it, or refuses it, gets no mail and no password (law 5, law 10)', async (t) => {
  const auth = { user: 'u', pass: 'the password' };
  for (const [EHLO, STARTTLS] of [
    ['250-relay.example\n250 AUTH PLAIN', '502 5.5.1 what'],
    ['250-relay.example\n250-STARTTLS\n250 AUTH PLAIN', '454 4.7.0 TLS not available'],
  ] as const) {
    const smtp = await ScriptedSmtp.start(t, { EHLO, STARTTLS });
    const [told] = await sendWith(smtpBackend(smtp.relay({ security: 'starttls', auth })));
    assert.equal(
      told,
      `unavailable: the relay 127.0.0.1:${smtp.port}: it answered "${STARTTLS}" to STARTTLS`,
    );
    assert.deepEqual(smtp.lines.slice(1), ['STARTTLS']);
  }
});

test('a relay that is not there or has no name is told clearly (law 5)', async (t) => {
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  await once(closed, 'close');
  const smtp = await ScriptedSmtp.start(t);
  const lookup = dns.lookup as (...args: unknown[]) => void;
  t.mock.method(
    dns,
    'lookup',
    (host: string, options: object, done: (...given: unknown[]) => void) => {
      if (host !== 'two.example') lookup(host, options, done);
      else
        done(
          null,
          ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 })),
        );
    },
  );
  for (const [but, why] of [
    [{ port }, /ECONNREFUSED/],
    [{ port, host: 'two.example' }, /ECONNREFUSED/],
    [{ host: 'relay.invalid' }, /(?:ENOTFOUND|EAI_AGAIN).* relay\.invalid/],
  ] as const) {
    const [told = ''] = await sendWith(smtpBackend(smtp.relay(but)));
    assert.match(told, /^unavailable: the relay /);
    assert.match(told, why);
  }
});

test('a password is said by PLAIN or LOGIN, whatever the relay offers; refusals are its trouble (law 5, law 10)', async (t) => {
  for (const authMethods of [['PLAIN'], ['LOGIN'], ['CRAM-MD5', 'LOGIN', 'PLAIN']]) {
    const { relay } = await npmSmtp(t, {
      authOptional: false,
      authMethods,
      hideSTARTTLS: true,
      allowInsecureAuth: true,
      onAuth({ username, password }, _, done) {
        const right = username === 'ü' && password === 'pässword';
        if (right) done(null, { user: username });
        else done(new Error('no such user'));
      },
    });
    const right = relay({ security: 'none', auth: { user: 'ü', pass: 'pässword' } });
    assert.match((await sendWith(smtpBackend(right))).join(), SENT);
    for (const auth of [{ user: 'ü', pass: 'wrong' }, undefined]) {
      const told = (await sendWith(smtpBackend(relay({ security: 'none', auth })))).join();
      assert.match(told, auth ? /^unavailable: .*"535 .* to AUTH/ : /^unavailable: .* 530 /);
      assert.doesNotMatch(told, /wrong/);
    }
  }
});

test('a relay without AUTH, or whose AUTH is out of order, gets no mail if there is a password (law 5)', async (t) => {
  const auth = { user: 'u', pass: 'p' };
  for (const [EHLO, AUTH] of [
    ['250 relay.example', '503 5.5.1 not offered'],
    ['250-relay.example\n250 AUTH PLAIN', '454 4.7.0 later'],
    ['250-relay.example\n250 AUTH PLAIN', '451 Authentication failed: credits exceeded'],
  ] as const) {
    const smtp = await ScriptedSmtp.start(t, { EHLO, AUTH });
    const [told = ''] = await sendWith(smtpBackend(smtp.relay({ auth })));
    assert.ok(told.startsWith('unavailable: ') && told.includes(`"${AUTH}" to AUTH`), told);
    assert.deepEqual(smtp.said('MAIL'), []);
  }
});
