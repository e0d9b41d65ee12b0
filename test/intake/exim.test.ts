import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { needs } from '../support/needs.ts';
import { octets } from '../support/odd-messages.ts';
import { PrivateExim } from '../support/private-exim.ts';
import { Road } from '../support/road.ts';
import { stored, type Stored } from '../support/stored.ts';

const sender = 'someone@host.example';
/** One message goes by LMTP to the first and by exim-pipe to the other. */
const both = ['one@lmtp.example', 'one@pipe.example'];
const TWO_WAYS =
  'APPENGINE_MAILER_TRANSPORT = ${if eq{$domain}{lmtp.example}{appengine_mailer_lmtp}{appengine_mailer_pipe}}';

/** Random octets that are the same in every run. */
function noise(size: number): Buffer {
  const blocks = Array.from({ length: size / 32 }, (_, number) =>
    createHash('sha256').update(String(number)).digest(),
  );
  return Buffer.concat(blocks);
}

const all = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet));
const head = 'Subject: x\n\n';

/** What sendmail gets. */
const inputs: (Buffer | string)[] = [
  `${head}plain\n`,
  `${head}no final newline`,
  'Subject: header only\n',
  'Subject: no line end',
  `${head}.\n..\n...\n. \n.x\n.\n`,
  '.first\n\nbody\n',
  `${head}From me\n>From you\n`,
  Buffer.concat([Buffer.from(head), all]),
  `${head}a NUL \0 here\n`,
  `${head}a bare\rCR\r\rand two\n`,
  'Subject: x\r\n\r\nCRLF\r\nall over\r\n',
  `${head}three\r\r\nof them\r\r\n`,
  `${head}${'y'.repeat(100_000)}\n`,
  Buffer.concat([Buffer.from(head), noise(300_000)]),
  octets,
  `X-Appengine-Mailer-Exim-Id: forged\nSubject: x\n\nX-Appengine-Mailer-Exim-Id: forged\n`,
];

/** What comes by SMTP, as one chunk whose bytes are free. */
const chunks: (Buffer | string)[] = [
  'Subject: x\r\n\r\n.\r\n..\r\nplain\r\n',
  Buffer.concat([Buffer.from('Subject: x\r\n\r\n'), all, Buffer.from('\r\n')]),
  'Subject: x\r\n\r\nlone\nLF\n.\n..dots\n\r\n',
  // What looks like the end of a message, and commands behind it (SMTP smuggling).
  'Subject: x\r\n\r\nend\n.\r\nMAIL FROM:<evil@x.example>\r\nRCPT TO:<one@lmtp.example>\r\nDATA\r\nx\r\n',
  'Subject: x\r\n\r\nend\r\n.\nRSET\n\r.\r\n\n.\n\r\n',
  'Subject: x\r\n\r\na bare\rCR, two\r\rand\r\r\nmore\r\n',
  `Subject: x\r\n\r\n${'y'.repeat(100_000)}\r\n`,
  Buffer.concat([Buffer.from('Subject: x\r\n\r\n'), noise(300_000), Buffer.from('\r\n')]),
];

test(
  'law 2, law 3: of 24 messages, however odd, Exim hands over the same bytes by LMTP as by exim-pipe, with its id',
  needs('exim4', 'root'),
  async (t) => {
    const road = new Road(t);
    const exim = new PrivateExim(road);
    await exim.intake();
    exim.configure({ main: TWO_WAYS });
    for (const input of inputs)
      await exim.exim(['-odq', '-oi', '-f', sender, '--', ...both], input);
    await exim.take(mails(chunks));
    await exim.runQueue();
    // In this form Exim keeps what a client sent in a chunk as it is.
    exim.configure({ main: `${TWO_WAYS}\nspool_wireformat = true` });
    await exim.take(mails(chunks));
    await exim.runQueue();

    const messages = stored(road.spool);
    assert.equal(await exim.queued(), 0, exim.mainlog().join('\n'));
    assert.equal(messages.length, 2 * (inputs.length + 2 * chunks.length));
    for (const { eximId, recipients, bytes } of messages) {
      const other = messages.find((each) => each.eximId === eximId && !isSame(each, recipients));
      // Not deepEqual: it would print megabytes.
      assert.ok(other?.bytes.equals(bytes), `${eximId} differs`);
    }
    const log = exim.mainlog().join('\n');
    const confirmed = [...log.matchAll(/T=appengine_mailer_lmtp.* C="250 2\.0\.0 queued (\w+)"/g)];
    const byLmtp = messages.filter(({ recipients }) => isSame({ recipients }, [both[0] ?? '']));
    assert.deepEqual(
      confirmed.map(([, id = '']) => id).toSorted(),
      byLmtp.map(({ id }) => id).toSorted(),
    );
  },
);

const mails = (messages: (Buffer | string)[]) =>
  messages.map((each) => ({ sender, recipients: both, message: Buffer.from(each) }));

function isSame({ recipients }: Pick<Stored, 'recipients'>, others: readonly (Buffer | string)[]) {
  return recipients.map(String).join() === others.map(String).join();
}

test(
  'law 1, law 5: what the server refuses waits in Exim, and is handed over later; nothing bounces',
  needs('exim4', 'root'),
  async (t) => {
    const road = new Road(t);
    const exim = new PrivateExim(road);
    const server = await exim.intake({ APPENGINE_MAILER_MAX_SIZE: '5000' });
    await exim.send(sender, ['a@x.example', 'b@y.example'], `${head}${'x\n'.repeat(5000)}`);
    const refused = exim.mainlog().filter((line) => / == \S+@/.test(line));
    assert.equal(refused.length, 2);
    for (const line of refused)
      assert.match(line, /T=appengine_mailer_lmtp defer .*452 4\.3\.4 not queued/);
    assert.equal(await exim.queued(), 1);
    await server.program.stop();
    await exim.intake();
    await exim.runQueue();
    assert.deepEqual([await exim.queued(), exim.mailbox()], [0, '']);
    const [found] = stored(road.spool);
    assert.deepEqual(found?.recipients.map(String).toSorted(), ['a@x.example', 'b@y.example']);
  },
);

test(
  'law 2: more recipients than Exim hands over at once are all stored, each once, under the id of one message',
  needs('exim4', 'root'),
  async (t) => {
    const road = new Road(t);
    const exim = new PrivateExim(road);
    await exim.intake();
    const recipients = Array.from({ length: 1001 }, (_, nth) => `number${nth}@a.example`);
    const id = await exim.send(sender, recipients);
    const messages = stored(road.spool);
    assert.deepEqual(
      messages.map((each) => [each.eximId, each.recipients.length]),
      [
        [id, 1000],
        [id, 1],
      ],
    );
    const found = messages.flatMap((each) => each.recipients.map(String));
    assert.deepEqual(found.toSorted(), recipients.toSorted());
  },
);
