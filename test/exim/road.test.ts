import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { needs } from '../support/needs.ts';
import { PrivateExim } from '../support/private-exim.ts';
import { Road, type Delivered } from '../support/road.ts';
import { stored } from '../support/stored.ts';

const sender = 'someone@host.example';

test(
  'law 4: one hand-over of Exim, recipients of any domains, is one message with that envelope',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim } = start(t);
    const recipients = [
      'plain@a.example',
      'Case.Kept+tag@B.example',
      'ünï@c.example',
      'grå@blåbær.example',
      '"a>b"@example.net',
      '"we ird"@d.example',
      String.raw`"quo\"te"@e.example`,
      "o'neil/x=y@f.example",
      'v4@[192.0.2.1]',
    ];
    const headers = 'From: other@x.example\nTo: nobody@y.example\nCc: nobody@z.example\n';
    const id = await exim.send(sender, recipients, `${headers}\ntest\n`);

    assert.equal(exim.streams(id).length, 1, 'one run of exim-pipe');
    const [delivered, ...more] = await deliver(road);
    assert.equal(more.length, 0);
    assert.equal(delivered?.sender, sender);
    assert.deepEqual(delivered.recipients.toSorted(), recipients.toSorted());
    assert.match(delivered.bytes.toString(), /^To: nobody@y.example\nCc: nobody@z.example\n/m);
    assert.equal(exim.mailbox(), '');
  },
);

test('law 4: the null sender stays the null sender', needs('exim4', 'root'), async (t) => {
  const { road, exim } = start(t);
  await exim.send('', ['one@a.example'], 'From: daemon@host.example\n\nA bounce.\n');
  const [delivered] = await deliver(road);
  assert.equal(delivered?.sender, '');
});

test(
  'law 4: blind copies are in the envelope; the headers stay as Exim wrote them',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim } = start(t);
    const message = 'To: to@a.example\nCc: cc@b.example\nBcc: blind@c.example\n\ntest\n';
    await exim.send(sender, [], message, ['-t']);
    // Without -t the header is text: it stays, and nobody gets mail for it.
    await exim.send(sender, ['only@d.example'], message);

    const [taken, given] = (await deliver(road)).toSorted(
      (a, b) => b.recipients.length - a.recipients.length,
    );
    assert.deepEqual(taken?.recipients.toSorted(), [
      'blind@c.example',
      'cc@b.example',
      'to@a.example',
    ]);
    assert.doesNotMatch(taken.bytes.toString(), /blind/);
    assert.deepEqual(given?.recipients, ['only@d.example']);
    assert.match(given.bytes.toString(), /^Bcc: blind@c.example$/m);
  },
);

// dma #110: a line of more than 999 octets was bounced.
test(
  'law 3: the bytes that Exim writes are the bytes that are delivered, be they as odd as can be',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim } = start(t);
    const ids = [
      // Exim itself makes bare CRs into line ends here, and ends the last line.
      await exim.send(sender, ['one@a.example'], odd('\n')),
      await exim.send(sender, ['one@a.example'], 'Subject: no body at all'),
      await exim.send(sender, ['one@a.example'], 'Subject: a dot\n\n.'),
      await exim.send(sender, ['one@a.example'], 'Subject: dots\n\n.\n..\n...\n. \n.\n'),
    ];
    // In this form Exim keeps what a client sent in a chunk as it is, bare CRs too.
    exim.configure({ main: 'spool_wireformat = true' });
    const chunk = Buffer.concat([odd('\r\n'), Buffer.from('\r\n')]);
    const wire = await exim.sendChunk(sender, ['one@a.example'], chunk);

    const streams = [...ids, wire].map((id) => exim.streams(id)[0] ?? Buffer.alloc(0));
    for (const part of ['\0', '\x80\xff', '\r\rcr', `\n${'y'.repeat(100_000)}\n`, '\n..dot']) {
      assert.ok(streams.at(-1)?.includes(part, 0, 'latin1'), `not tested: ${JSON.stringify(part)}`);
    }
    assert.ok(streams.every((stream, nth) => [0, 4].includes(nth) === stream.length > 3_000_000));

    const delivered = await deliver(road);
    const eximIds = new Map(stored(road.spool).map(({ id, eximId }) => [id, eximId]));
    assert.equal(delivered.length, streams.length);
    for (const { id, bytes } of delivered) {
      const nth = [...ids, wire].indexOf(eximIds.get(id) ?? '');
      // Not deepEqual: it would print megabytes.
      assert.ok(bytes.equals(unstuffed(streams[nth])), `message ${nth} has changed`);
    }
  },
);

test(
  'law 2: more recipients than Exim hands over at once are all stored, each once',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim } = start(t);
    const recipients = Array.from({ length: 1001 }, (_, nth) => `number${nth}@a.example`);
    const id = await exim.send(sender, recipients);

    assert.equal(exim.streams(id).length, 2);
    const messages = stored(road.spool);
    assert.deepEqual(
      messages.map(({ recipients: found }) => found.length),
      [1000, 1],
    );
    assert.deepEqual(
      messages.flatMap(({ recipients: found }) => found.map(String)).toSorted(),
      recipients.toSorted(),
    );
    assert.equal(await exim.queued(), 0);
  },
);

test('mail that comes by SMTP takes the same road', needs('exim4', 'root'), async (t) => {
  const { road, exim } = start(t);
  const commands = [
    'EHLO client.example',
    `MAIL FROM:<${sender}>`,
    'RCPT TO:<one@a.example>',
    'RCPT TO:<two@b.example>',
    'DATA',
    'Subject: SMTP\r\n\r\n..dot\r\n.',
    'QUIT',
  ];
  const socket = connect(await exim.listen(), '127.0.0.1');
  let said = '';
  for await (const chunk of socket) {
    said += String(chunk);
    if (/^\d{3} .*\r\n$(?![^])/m.test(said)) socket.write(`${commands.shift() ?? 'RSET'}\r\n`);
  }
  await exim.runQueue();

  const [message, ...more] = stored(road.spool);
  assert.deepEqual(more, []);
  assert.equal(message?.sender.toString(), sender);
  assert.deepEqual(message.recipients.map(String), ['one@a.example', 'two@b.example']);
  assert.match(message.bytes.toString(), /\n\n\.dot\n$/);
});

test(
  "the rewriting of Debian's hidden mail name reaches headers and envelope",
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim } = start(t);
    const main = [
      'REMOTE_SMTP_HEADERS_REWRITE = *@host.example $1@visible.example frs',
      'REMOTE_SMTP_RETURN_PATH = ${sg{$return_path}{@host.example}{@visible.example}}',
      'REMOTE_SMTP_TRANSPORTS_HEADERS_REMOVE = X-Inside',
    ];
    exim.configure({ main: main.join('\n') });
    await exim.send(sender, ['one@a.example'], `From: ${sender}\nX-Inside: a secret\n\ntest\n`);

    const [message] = stored(road.spool);
    assert.equal(message?.sender.toString(), 'someone@visible.example');
    assert.match(message.bytes.toString(), /^From: someone@visible.example$/m);
    assert.doesNotMatch(message.bytes.toString(), /secret/);
  },
);

test(
  'the router leaves local mail alone, and all mail when the program is gone',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim } = start(t);
    await exim.send(sender, ['local@host.example'], 'Subject: local mail\n\ntest\n');
    exim.configure({ main: 'APPENGINE_MAILER_PIPE == /nonexistent/exim-pipe' });
    await exim.send(sender, ['one@a.example'], 'Subject: no program\n\ntest\n');
    assert.deepEqual(stored(road.spool), []);
    assert.match(exim.mailbox(), /^Subject: local mail$[^]*^Subject: no program$/m);
  },
);

test(
  'on a satellite, mail of local users that is read elsewhere is taken too',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim } = start(t);
    exim.configure({ main: 'DCconfig_satellite = 1\nDCreadhost = host.example' });
    await exim.send(sender, ['root@host.example']);
    await exim.send(sender, ['no-such-user@host.example'], 'Subject: unknown\n\ntest\n');
    assert.deepEqual(
      stored(road.spool).flatMap(({ recipients }) => recipients.map(String)),
      ['root@host.example'],
    );
    assert.match(exim.mailbox(), /^Subject: unknown$/m);
  },
);

test('without a smarthost there is nothing to take', needs('exim4', 'root'), async (t) => {
  const { road, exim } = start(t);
  exim.configure({ smarthost: false });
  await exim.send(sender, ['one@a.example'], 'Subject: direct\n\ntest\n');
  assert.deepEqual(stored(road.spool), []);
  assert.match(exim.mailbox(), /^Subject: direct$/m);
});

function start(t: TestContext): { road: Road; exim: PrivateExim } {
  const road = new Road(t);
  const exim = new PrivateExim(road);
  exim.tee();
  return { road, exim };
}

/** Empties the spool into the file backend. */
async function deliver(road: Road): Promise<Delivered[]> {
  const proxy = await road.proxy(['--backend', 'file']);
  const { code, stderr } = await road.drain(['--once']).ended;
  assert.equal(code, 0, stderr);
  await proxy.stop();
  return road.deliveries();
}

/** A message of more than 3 MB without a line end at its end. */
function odd(eol: '\n' | '\r\n'): Buffer {
  const lines = [
    'Subject: odd',
    '',
    '.dot',
    '..',
    '.',
    'a bare\rCR, two\r\rcr',
    'a NUL \0 and octets \x80\xff\xfe',
    'y'.repeat(100_000),
    '',
    '.\rdot and CR',
    ...Array.from({ length: 40_000 }, (_, nth) => `${'.'.repeat(nth % 3)}${'z'.repeat(80)}`),
    'the end',
  ];
  return Buffer.from(lines.join(eol), 'latin1');
}

/** The message in a stream, by another way than the product's: line by line, on text. */
function unstuffed(stream: Buffer = Buffer.alloc(0)): Buffer {
  const text = stream.toString('latin1');
  const lines = text.slice(text.indexOf('\nDATA\n') + 6).split('\n');
  assert.deepEqual(lines.splice(-2), ['.', ''], 'the stream ends in a dot');
  const whole = lines.map((line) => `${line.startsWith('.') ? line.slice(1) : line}\n`).join('');
  return Buffer.from(whole, 'latin1');
}
