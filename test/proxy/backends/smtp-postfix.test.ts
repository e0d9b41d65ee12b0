import assert from 'node:assert/strict';
import test from 'node:test';
import { smtpBackend } from '../../../src/proxy/backends/smtp/smtp-backend.ts';
import { needs } from '../../support/needs.ts';
import { octets } from '../../support/odd-messages.ts';
import { PrivatePostfix } from '../../support/private-postfix.ts';
import { sendWith } from '../../support/send-with.ts';

test(
  'a real Postfix, over STARTTLS, stores the bytes; each recipient has its own answer (law 3, law 4)',
  needs('postfix', 'root', 'openssl'),
  async (t) => {
    const postfix = await PrivatePostfix.start(t);
    const backend = smtpBackend({
      host: '127.0.0.1',
      port: postfix.port,
      security: 'starttls',
      ca: postfix.ca,
      name: undefined,
      auth: undefined,
      connectionsMax: 20,
    });
    const recipients = [
      'a@example.org',
      'nobody@example.org',
      'later@example.org',
      'b@example.org',
      '"<tag>"@example.org',
    ];
    const [a = '', nobody = '', later = '', b = '', tag = ''] = await sendWith(backend, {
      recipients,
      bytes: octets,
    });
    assert.match(a, /^a@example\.org 2\.0\.0 250 2\.0\.0 Ok: queued as /);
    assert.match(b, /^b@example\.org 2\.0\.0 250 2\.0\.0 Ok: queued as /);
    assert.match(nobody, /^nobody@example\.org 5\.1\.1 550 5\.1\.1 .*unknown/);
    assert.match(later, /^later@example\.org 4\.2\.1 450 4\.2\.1 .*busy/);
    assert.match(tag, /^"<tag>"@example\.org 5\.1\.1 550 5\.1\.1 <<tag>@example\.org>: .*unknown/i);
    for (const name of ['a', 'b'] as const) {
      const [mail = Buffer.alloc(0)] = await postfix.mailbox(name, 1);
      assert.match(mail.toString('latin1'), /^Return-Path: <s@example\.com>\n/);
      const ours = mail.indexOf('Subject: octets');
      assert.ok(mail.subarray(ours).equals(octets), mail.subarray(ours).toString('latin1'));
    }

    const [bounce = ''] = await sendWith(backend, { sender: '', recipients: ['a@example.org'] });
    assert.match(bounce, / 2\.0\.0 /);
    const [large = ''] = await sendWith(backend, {
      recipients: ['a@example.org'],
      bytes: Buffer.alloc(1_000_001, 'x\n'),
    });
    assert.match(large, /^a@example\.org 5\.3\.4 /);
    assert.match((await postfix.mailbox('a', 2)).join(''), /^Return-Path: <>\n/m);
  },
);
