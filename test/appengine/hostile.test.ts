import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { appengineBackend } from '../../src/proxy/backends/appengine/appengine-backend.ts';
import { Thread } from '../../src/host/thread.ts';
import { ScriptedApiHost } from '../support/scripted-api-host.ts';
import { deliverWith } from '../support/send-with.ts';
import { assertFields, attached, fieldsOf, multipart, octets } from '../support/mail-fields.ts';

/** A message of so many multiparts, each in the one before, around a text. */
function nested(depth: number, text: string): Buffer {
  const levels = Array.from({ length: depth }, (_, level) => [
    `Content-Type: multipart/mixed; boundary=b${level}`,
    '',
    `--b${level}`,
  ]);
  return octets(...levels.flat(), '', text);
}

function siblings(count: number): Buffer {
  return octets(
    'Content-Type: multipart/mixed; boundary=b',
    '',
    '--b\n\nx\n'.repeat(count).trimEnd(),
    '--b--',
  );
}

/** CPU time of an action, in milliseconds. */
async function cpuOf(action: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await action();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

test('deep nesting is read to the depth of the limit, and refused beyond', async () => {
  const { message } = await fieldsOf(nested(900, 'Hello'));
  assert.equal(message.textBody, 'Hello\n');
  await assert.rejects(fieldsOf(nested(10_000, 'Hello')), /it has more than 1000 parts/);
});

test('as many parts as the limit says are sent, and 10,000 refused', async () => {
  const { message } = await fieldsOf(siblings(990));
  assert.equal(message.textBody, 'x');
  assert.deepEqual(
    message.attachments.map(({ fileName, data }) => `${fileName} ${data.toString()}`),
    Array.from({ length: 989 }, (_, index) => `attachment-${index + 1}.txt x`),
  );
  await assert.rejects(fieldsOf(siblings(10_000)), /it has more than 1000 parts/);
});

test('a message that is refused for its number of parts costs no more than one that is sent', async () => {
  await fieldsOf(siblings(100)); // So that the code is compiled.
  const sent = await cpuOf(async () => fieldsOf(siblings(990)));
  const refused = await cpuOf(async () => fieldsOf(siblings(100_000)).catch(() => {}));
  assert.ok(refused < sent * 2, `${refused} ms against ${sent} ms`);
});

test('a message that takes too long is given up, and waits alone (law 5)', async (t) => {
  const api = await ScriptedApiHost.start(t);
  const journal: string[] = [];
  const backend = appengineBackend(
    api.host,
    proxyJournal(({ text }) => journal.push(text)),
  );
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const post = { key: '', id: 'x', sender: 's@example.com', recipients: ['r@example.org'] };
  const bytes = nested(900, '--b\n'.repeat(1_000_000));
  const results = deliverWith(backend, { ...post, bytes });
  await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(limits.mimeMs);
  assert.deepEqual(await results, [
    {
      recipient: 'r@example.org',
      status: '4.3.0',
      reason: 'the message cannot be taken apart: the work did not end within 10 s',
    },
  ]);
  assert.equal(api.calls.length, 0);
  assert.deepEqual(journal, [
    'x: it waits, since the message cannot be taken apart: the work did not end within 10 s',
  ]);
});

test('a message that meets a defect of ours waits, and the journal says so (law 5)', async (t) => {
  const api = await ScriptedApiHost.start(t);
  const journal: string[] = [];
  const backend = appengineBackend(
    api.host,
    proxyJournal(({ text }) => journal.push(text)),
  );
  t.mock.method(Thread.prototype, 'call', () => assert.fail('oops'));
  const post = { key: '', id: 'x', sender: 's@example.com', recipients: ['r@example.org'] };
  const results = await deliverWith(backend, { ...post, bytes: octets('', 'Hello') });
  const why = 'the message cannot be taken apart: AssertionError [ERR_ASSERTION]: oops';
  assert.deepEqual(results, [{ recipient: 'r@example.org', status: '4.3.0', reason: why }]);
  assert.deepEqual(journal, [`x: it waits, since ${why}`]);
});

test('30 MB of line ends without LF stop nobody while they are taken apart, and are given up', async () => {
  const hostile = fieldsOf(Buffer.alloc(30_000_000, '\r'));
  hostile.catch(() => {});
  let turns = 0;
  const waiting = setInterval(() => (turns += 1), 1);
  const { message } = await fieldsOf(octets('', 'Hello')); // Behind it, and not harmed by it.
  clearInterval(waiting);
  assert.equal(message.textBody, 'Hello\n');
  await hostile.catch(() => {});
  assert.ok(turns > 50, `${turns} turns of the event loop`);
});

test('a header section beyond the limit is refused, and so is one of a part', async () => {
  const large = `X: ${'y'.repeat(limits.headerBytes)}`;
  await assert.rejects(
    fieldsOf(octets(large, '', 'x')),
    new RegExp(`larger than ${limits.headerBytes} bytes`),
  );
  const part = octets('Content-Type: multipart/mixed; boundary=b', '', '--b', large, '', 'x');
  await assert.rejects(
    fieldsOf(part),
    new RegExp(`a part of it has a header larger than ${limits.headerBytes} bytes`),
  );
});

test('the text of HTML that is too long is its beginning, that of HTML that is too deep its upper levels; both are sent', async () => {
  for (const [html, text] of [
    [`<p>${'x'.repeat(300_000)}</p>`, 'x'.repeat(262_144 - '<p>'.length)],
    [`a ${'<b>'.repeat(20_000)}b`, 'a ...'],
  ]) {
    const { message } = await fieldsOf(octets('Content-Type: text/html', '', html ?? ''));
    assert.equal(message.textBody.replaceAll('\n', ''), text);
    assert.equal(message.htmlBody, `${html}\n`);
  }
});

test('the content of a multipart without parts within another one is not lost', async () => {
  for (const inside of [['is lost?'], [], ['--c--']]) {
    const empty = ['Content-Type: multipart/mixed; boundary=c', '', ...inside];
    const lines = multipart('mixed', 'b', ['', 'Hello'], empty, [
      'Content-Type: text/css',
      '',
      'x',
    ]);
    await assertFields(octets(...lines), {
      textBody: 'Hello',
      attachments: [
        attached('attachment-1.css', 'x'),
        attached('attachment-2.eml', octets(...lines)),
      ],
    });
  }
});

/** Header fields as long as the limit allows that parsers have been slow with. */
const headers: Record<string, string> = {
  'open comments': `To: ${'('.repeat(250_000)}`,
  'groups in groups': `To: ${'a:'.repeat(120_000)}`,
  'many addresses': `To: ${'a@b.example, '.repeat(19_000)}`,
  'many open quotes': `To: ${'"<,;:'.repeat(50_000)}`,
  'encoded words': `Subject: ${'=?utf-8?q?a?= '.repeat(17_000)}`,
  'encoded words that do not end': `Subject: ${'=?'.repeat(120_000)}`,
  parameters: `Content-Type: text/plain; ${'a=b; '.repeat(50_000)}`,
  'a name in many pieces': `Content-Type: text/plain; ${Array.from({ length: 12_000 }, (_, n) => `name*${n}*=%41;`).join('')}`,
  'escaped quotes': `Content-Type: text/plain; name="${String.raw`\"`.repeat(120_000)}`,
};

for (const [title, header] of Object.entries(headers)) {
  // What grows with the square of the length costs 16 times as much.
  test(`a header of ${title} costs about four times as much as a quarter of it`, async () => {
    const cost = async (length: number) =>
      cpuOf(async () => fieldsOf(octets(header.slice(0, length), '', 'x')));
    await cost(header.length / 4);
    const quarter = Math.min(...(await inTurn(3, async () => cost(header.length / 4))));
    const whole = Math.min(...(await inTurn(3, async () => cost(header.length))));
    assert.ok(whole < 8 * quarter + 20, `${whole} ms against ${quarter} ms`);
  });
}

async function inTurn<T>(times: number, action: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let time = 0; time < times; time += 1) results.push(await action());
  return results;
}

test('25 MB of base64 and of one line take memory in proportion', async () => {
  const bodies = [
    ['Content-Transfer-Encoding: base64', '', `${'A'.repeat(76)}\n`.repeat(325_000)],
    ['Content-Type: application/x-y', '', 'x'.repeat(25_000_000)],
  ];
  for (const lines of bodies) {
    const bytes = octets(...lines);
    const before = process.memoryUsage().rss;
    await fieldsOf(bytes);
    const more = process.memoryUsage().rss - before;
    assert.ok(more < 10 * bytes.length, `${more} bytes for ${bytes.length}`);
  }
});
