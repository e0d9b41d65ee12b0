import assert from 'node:assert/strict';
import test from 'node:test';
import { smtpBackend } from '../../../src/proxy/backends/smtp/smtp-backend.ts';
import { needs } from '../../support/needs.ts';
import { octets } from '../../support/odd-messages.ts';
import { PrivateExim } from '../../support/private-exim.ts';
import { Road } from '../../support/road.ts';
import { sendWith } from '../../support/send-with.ts';
import { stored } from '../../support/stored.ts';

test(
  'a real Exim takes the true envelope, and stores the bytes (law 3, law 4)',
  needs('exim4', 'root'),
  async (t) => {
    const road = new Road(t);
    const exim = new PrivateExim(road);
    exim.configure({ main: 'message_size_limit = 1M\nsmtputf8_advertise_hosts =' });
    const backend = smtpBackend({
      host: '127.0.0.1',
      port: await exim.listen(),
      security: 'none',
      ca: undefined,
      name: undefined,
      auth: undefined,
      connectionsMax: 20,
    });
    const recipients = ['a@example.org', '"b c"@example.org', 'd@example.net', '"<e>"@example.org'];
    const told = await sendWith(backend, { recipients, bytes: octets });
    assert.equal(told.length, 4);
    for (const line of told) assert.match(line, / 2\.0\.0 250 OK id=/);
    await sendWith(backend, { sender: '', bytes: 'Subject: null\n\n' });
    const [utf8 = ''] = await sendWith(backend, { recipients: ['ü@example.org'] });
    assert.match(utf8, /^ü@example\.org 5\.6\.7 /);
    const [large = ''] = await sendWith(backend, { bytes: Buffer.alloc(1_100_000, 'x\n') });
    assert.match(large, /^r@example\.org 5\.3\.4 /);

    // It went through Exim into our own spool, which has what Exim has.
    await exim.runQueue();
    const messages = stored(road.spool);
    const first = messages.filter(({ sender }) => sender.toString() === 's@example.com');
    const addresses = first.flatMap((each) => each.recipients.map(String)).toSorted();
    assert.deepEqual(addresses, recipients.toSorted());
    for (const { bytes } of first) {
      const ours = bytes.indexOf('Subject: octets');
      assert.ok(bytes.subarray(ours).equals(octets), bytes.subarray(ours).toString('latin1'));
    }
    assert.equal(messages.filter(({ sender }) => sender.length === 0).length, 1);
  },
);
