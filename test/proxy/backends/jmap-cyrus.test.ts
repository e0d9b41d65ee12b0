import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { jmapBackend } from '../../../src/proxy/backends/jmap/jmap-backend.ts';
import { LONG } from '../../support/figures.ts';
import { Forwarder } from '../../support/forwarder.ts';
import { handIn } from '../../support/hand-in.ts';
import { needs } from '../../support/needs.ts';
import { PrivateCyrus } from '../../support/private-cyrus.ts';
import { appengineMailer } from '../../support/program.ts';
import { Road } from '../../support/road.ts';
import { sendWith, type Sending } from '../../support/send-with.ts';

/** A real JMAP server, Cyrus IMAP, with a scripted SMTP server behind it. */
test('a real Cyrus', needs('cyrus', 'root'), async (t) => {
  const cyrus = await PrivateCyrus.start(t);
  const { smtp } = cyrus;
  const backend = jmapBackend(cyrus.account);
  smtp.script['RCPT'] = (line) => {
    if (line.includes('<bad')) return '550 5.1.1 no such user';
    if (line.includes('<greylisted')) return '450 4.2.0 greylisted';
    return line.includes('<later') ? '451 4.3.0 later' : '250 2.1.5 Ok';
  };

  /** What came of a message, and what the SMTP server got meanwhile. */
  const send = async (subject: string, sending: Sending = {}) => {
    const before = smtp.messages.length;
    const told = await sendWith(backend, { bytes: `Subject: ${subject}\n\ntext\n`, ...sending });
    return {
      told: told.map((line) =>
        line.replace(/ (?:taken by the JMAP server as|the JMAP server answered) .*/, ''),
      ),
      got: smtp.messages.slice(before),
    };
  };

  await t.test(
    'gets what Exim writes, with CRLF as line ends and 8-bit text, from the true sender to the true recipients (law 3, law 4)',
    async (inner) => {
      const road = new Road(inner);
      const proxy = await road.proxy(cyrus.options, cyrus.environment);
      const head =
        'From: x@other.example\nTo: nobody@example.org\nBcc: z@example.org\nSubject: \xe9\n\n';
      const bytes = Buffer.from(
        `${head}\xe9\xff\x01\n.\n..\n${'y'.repeat(20_000)}\nno end`,
        'latin1',
      );
      handIn(road.spool, [
        { sender: 's@example.com', recipients: ['a@example.org', 'b@bücher.example'], bytes },
      ]);
      assert.equal((await road.drain(['--once']).ended).code, 0, proxy.stderr);
      const [{ envelope, bytes: got } = { envelope: [], bytes: Buffer.alloc(0) }] = smtp.messages;
      assert.deepEqual(envelope, [
        'MAIL FROM:<s@example.com>',
        'RCPT TO:<a@example.org>',
        'RCPT TO:<b@xn--bcher-kva.example>',
      ]);
      assert.equal(
        got.toString('latin1'),
        `${bytes.toString('latin1')}\n`.replaceAll('\n', '\r\n'),
      );
    },
  );

  await t.test('takes the null sender', async () => {
    const { told, got } = await send('null', { sender: '' });
    assert.deepEqual(told, ['r@example.org 2.0.0']);
    assert.equal(got[0]?.envelope[0], 'MAIL FROM:<>');
  });

  await t.test('refuses NUL in one message, which is of that message (law 5)', async () => {
    const { told } = await send('', { bytes: 'Subject: nul\n\n\0\n' });
    assert.deepEqual(told, ['r@example.org 5.6.0']);
    assert.deepEqual((await send('after NUL')).told, ['r@example.org 2.0.0']);
  });

  await t.test(
    'has each recipient answered, and one that is refused holds up no other (law 5, law 6)',
    async () => {
      const recipients = ['a', 'bad1', 'b', 'later', 'c', 'greylisted', 'bad2'].map(
        (name) => `${name}@example.org`,
      );
      const { told, got } = await send('mixed', { recipients });
      assert.deepEqual(told.toSorted(), [
        'a@example.org 2.0.0',
        'b@example.org 2.0.0',
        'bad1@example.org 5.1.3',
        'bad2@example.org 5.1.3',
        'c@example.org 2.0.0',
        'greylisted@example.org 4.3.0',
        'later@example.org 4.3.0',
      ]);
      const reached = got.flatMap(({ envelope }) => envelope.slice(1));
      assert.deepEqual(
        reached.toSorted(),
        ['a', 'b', 'c'].map((name) => `RCPT TO:<${name}@example.org>`),
      );
    },
  );

  await t.test(
    'passes on a refusal of its relay for now, and not as a failure (law 5)',
    async () => {
      for (const [step, reply] of [
        ['MAIL', '550 5.7.1 not this sender'],
        ['MAIL', '451 4.3.0 later'],
        ['message', '554 5.6.0 not this content'],
        ['message', '451 4.3.0 later'],
      ] as const) {
        smtp.script[step] = reply;
        assert.deepEqual((await send(`${step} ${reply}`)).told, ['r@example.org 4.3.0'], reply);
        delete smtp.script[step];
      }
      smtp.script['message'] = 'lost';
      assert.match((await send('lost')).told.join(), /^r@example\.org unknown/);
      delete smtp.script['message'];
    },
  );

  await t.test(
    'has sent a message whose answer was lost, and that is found out (law 6)',
    async (inner) => {
      const middle = await Forwarder.open(inner, String(cyrus.url));
      const url = new URL(`http://127.0.0.1:${middle.port}/jmap/`);
      const lossy = jmapBackend({ ...cyrus.account, url });
      const lose = (towards: 'client' | 'server', word: string) => {
        middle.passes = (way, piece) => {
          if (way !== towards || !piece.includes(word)) return piece;
          middle.passes = (_, each) => each;
          return Buffer.alloc(0);
        };
      };
      const before = smtp.messages.length;
      lose('client', '"EmailSubmission/set"');
      const found = await sendWith(lossy, { bytes: 'Subject: lost answer\n\ntext\n' });
      assert.match(found.join(), /^r@example\.org 2\.0\.0 found at the JMAP server, after: /);
      assert.equal(smtp.messages.length, before + 1);

      lose('server', '"EmailSubmission/set"');
      const unsent = await sendWith(lossy, { bytes: 'Subject: lost request\n\ntext\n' });
      assert.match(unsent.join(), /^unavailable: .*it was not sent$/);
      assert.equal(smtp.messages.length, before + 1);
    },
  );

  await t.test('takes a large message, and several at once', async () => {
    const bytes = Buffer.alloc(LONG ? 20_000_000 : 3_000_000, 'a line of some characters\n');
    const [large, ...small] = await Promise.all([
      send('', { bytes: Buffer.concat([Buffer.from('Subject: large\n\n'), bytes]) }),
      ...Array.from({ length: 5 }, async (_, number) => send(`number ${number}`)),
    ]);
    for (const { told } of [large, ...small]) assert.deepEqual(told, ['r@example.org 2.0.0']);
    const largest = Math.max(...smtp.messages.map((message) => message.bytes.length));
    assert.ok(largest > bytes.length * (27 / 26), String(largest));
  });

  await t.test('is found in order by proxy check, and a wrong password is told', async (inner) => {
    const road = new Road(inner);
    const check = async (password: string) => {
      const words = [
        'proxy',
        'check',
        '--ledger',
        join(road.folder, 'ledger.db'),
        ...cyrus.options,
      ];
      const env = { GMAIL_SECRET_KEY: road.key, JMAP_PASSWORD: password };
      const { stdout } = await appengineMailer(inner, words, { cwd: road.folder, env, input: '' })
        .ended;
      return stdout.toString();
    };
    assert.match(
      await check(cyrus.environment['JMAP_PASSWORD'] ?? ''),
      /^ok {4}login: the account may send as any sender/m,
    );
    assert.match(await check('wrong'), /^FAULT login: .*answered 401 .*To do: .*JMAP_PASSWORD/m);
  });
});
