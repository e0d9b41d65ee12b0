import assert from 'node:assert/strict';
import test from 'node:test';
import { Journal } from '../../../src/host/journal.ts';
import { mailFields } from '../../../src/proxy/backends/appengine-fields.ts';
import { appengineBackend } from '../../../src/proxy/backends/appengine.ts';
import { ScriptedApiHost } from '../../support/scripted-api-host.ts';
import { fieldsOf, octets } from '../../support/mail-fields.ts';

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
  await assert.rejects(fieldsOf(nested(10_000, 'Hello')), /Max allowed child nodes exceeded/);
});

test('as many parts as the limit says are sent, and 10,000 refused', async () => {
  const { message } = await fieldsOf(siblings(990));
  assert.equal(message.textBody, 'x');
  assert.deepEqual(
    message.attachments.map(({ fileName, data }) => `${fileName} ${data.toString()}`),
    Array.from({ length: 989 }, (_, index) => `attachment-${index + 1}.txt x`),
  );
  await assert.rejects(fieldsOf(siblings(10_000)), /Max allowed child nodes exceeded/);
});

test('what is refused for its number of parts costs no more than what is sent', async () => {
  await fieldsOf(siblings(100)); // So that the code is compiled.
  const sent = await cpuOf(async () => fieldsOf(siblings(990)));
  const refused = await cpuOf(async () => fieldsOf(siblings(100_000)).catch(() => {}));
  assert.ok(refused < sent * 2, `${refused} ms against ${sent} ms`);
});

test('a message that takes too long is given up, and waits alone (law 5)', async (t) => {
  const api = await ScriptedApiHost.start(t);
  const backend = appengineBackend(api.host, new Journal(() => {}));
  const late = AbortSignal.abort();
  t.mock.method(AbortSignal, 'timeout', () => late);
  const post = { id: 'x', sender: 's@example.com', recipients: ['r@example.org'] };
  const bytes = nested(900, '--b\n'.repeat(1_000_000));
  const results = await backend({ ...post, bytes }, new AbortController().signal);
  assert.deepEqual(results, [
    {
      recipient: 'r@example.org',
      status: '4.3.0',
      reason: 'the message cannot be taken apart: not within 10 s',
    },
  ]);
  assert.equal(api.calls.length, 0);
});

test('when the time is up in the middle, the work ends', async () => {
  const bytes = nested(900, '--b\n'.repeat(5_000_000));
  const delivery = { id: 'x', sender: 's@example.com', recipients: ['r@example.org'], bytes };
  const timeUp = new AbortController();
  const fields = mailFields(delivery, timeUp.signal);
  setTimeout(() => timeUp.abort(), 100);
  await assert.rejects(fields, { name: 'AbortError' });
});

test('a header section beyond the limit is refused, and so is one of a part', async () => {
  const large = `X: ${'y'.repeat(300_000)}`;
  await assert.rejects(fieldsOf(octets(large, '', 'x')), /larger than 262144 bytes/);
  const part = octets('Content-Type: multipart/mixed; boundary=b', '', '--b', large, '', 'x');
  await assert.rejects(fieldsOf(part), /Max header size for a MIME node exceeded/);
});

test('HTML too long or too deep to be read has no text, and is sent', async () => {
  for (const html of ['<b>'.repeat(20_000), `<p>${'x'.repeat(300_000)}</p>`]) {
    const { message } = await fieldsOf(octets('Content-Type: text/html', '', html));
    assert.deepEqual([message.textBody, message.htmlBody], ['', `${html}\n`]);
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
  test(`a header of ${title} costs little more than twice as much as half of it`, async () => {
    const cost = async (length: number) =>
      cpuOf(async () => fieldsOf(octets(header.slice(0, length), '', 'x')));
    await cost(header.length / 2);
    const half = Math.min(...(await inTurn(3, async () => cost(header.length / 2))));
    const whole = Math.min(...(await inTurn(3, async () => cost(header.length))));
    assert.ok(whole < 5 * half + 50, `${whole} ms against ${half} ms`);
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
