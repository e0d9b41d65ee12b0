import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { clock } from '../support/clock.ts';
import { DebianExim } from '../support/debian-exim.ts';
import { needs } from '../support/needs.ts';
import { deliveryReport, summaryReport } from '../../src/mail/delivery-report.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

const KEY = 'the key of host.example, which is restricted';
const EVIL = 'From: CEO <ceo@bank.example>\n';
const MINE = 'From: me@host.example\n';
const REPORT = 'Content-Type: multipart/report; report-type=delivery-status; boundary=x\n';
const AUTO = 'Auto-Submitted: auto-replied\n';

/** A proxy with a key that may send as host.example alone, and what it says of messages with the null sender. */
async function restricted(road: Road, args: string[] = []) {
  const file = join(road.folder, 'keys');
  writeFileSync(file, `# allow-sender @host.example\n${KEY}\n`, { mode: 0o600 });
  await road.proxy(['--keys-file', file, ...args]);
  return async (bytes: string | Buffer): Promise<string> => {
    const { body } = await signedPost(road.address, { key: KEY, sender: '', bytes });
    const [verdict] = (JSON.parse(body.toString()) as { verdicts: Record<string, string>[] })
      .verdicts;
    return `${verdict?.['status']} ${verdict?.['reason']}`;
  };
}

test('the null sender does not make a key with a list of senders send as anybody', async (t) => {
  const road = new Road(t);
  const says = await restricted(road);
  const refused = [
    EVIL,
    `${MINE}${EVIL}`,
    'From: me@host.example, ceo@bank.example\n',
    `${MINE}X: y\r${EVIL}`,
    'Subject: nobody is the author\n',
    'Sender: me@host.example\n',
    `${EVIL}Auto-Submitted: no\n`,
    `${EVIL}Auto-Submitted: No ; x=y\n`,
    `${EVIL}Auto-Submitted:\n`,
    `${EVIL}Auto-Submitted: (auto-replied) no\n`,
    `${EVIL}Auto-Submitted: no\n${AUTO}`,
    `${EVIL}${AUTO}Auto-Submitted: no\n`,
    `${EVIL}${AUTO}${AUTO}`,
    `${EVIL}${AUTO}X: y\rAuto-Submitted: no\n`,
    `${EVIL}X: y\r${AUTO}`,
    `${EVIL}X-Auto-Submitted: auto-replied\n`,
    `${EVIL}Content-Type: text/plain\n${REPORT}`,
    `${EVIL}${REPORT}Content-Type: text/plain\n`,
    `${EVIL}${REPORT}content-type : text/plain\n`,
    `${EVIL}${REPORT}X: y\rContent-Type: text/plain\n`,
    `${EVIL}Content-Type: text/plain; x=multipart/report\n`,
    `${EVIL}Content-Type: multipart/reports\n`,
    `${EVIL}Content-Type: (multipart/report) text/plain\n`,
    `${EVIL}\n${REPORT}`,
  ];
  for (const header of refused) {
    const said = await says(`${header}\n\nThe bank\n`);
    assert.match(
      said,
      /^5\.7\.1 Unauthorized message sender '.*with the null sender, only reports/,
      header,
    );
  }
  assert.match(
    await says(`${EVIL}\n`),
    /^5\.7\.1 Unauthorized message sender 'ceo@bank\.example': /,
  );
  assert.deepEqual(road.deliveries(), []);
});

test('with the null sender, its own From and every report still pass, unchanged (law 3, law 4)', async (t) => {
  const road = new Road(t);
  const says = await restricted(road);
  const daemon = 'From: Mail Delivery System <MAILER-DAEMON@other.example>\n';
  const passes = [
    MINE,
    `${daemon}${REPORT}`,
    `${daemon}${AUTO}`,
    `${daemon}AUTO-SUBMITTED:\r\n\tauto-generated; owner-email="x@y"\n`,
    `${daemon}Content-Type: Multipart/Report\n\tboundary=x; report-type=disposition-notification\n`.replace(
      '\n\t',
      ';\n\t',
    ),
    `${daemon}Auto-Submitted: auto-notified\nContent-Type: text/plain\n`,
  ].map((header) => `${header}\nbody\n`);
  for (const bytes of passes) assert.match(await says(bytes), /^2\.0\.0 /, bytes);

  const reporter = { host: 'other.example', domain: 'other.example', now: 0, name: 'a1' };
  const recipients = [{ address: 'r@example.org', status: '5.1.1', reason: 'no' }];
  const about = { id: 'ab', eximId: '1a', queuedAt: 0, recipients };
  const reports = [
    ...(['failure', 'delay'] as const).map((kind) => {
      const original = { bytes: Buffer.from(`${EVIL}\n\nx\n`), whole: true };
      return deliveryReport(
        { ...about, kind, to: 's@host.example', triedUntil: 0, original },
        reporter,
      );
    }),
    summaryReport('s@host.example', [{ ...about, kind: 'failure' }], reporter),
  ];
  for (const bytes of reports) assert.match(await says(bytes), /^2\.0\.0 /, bytes.toString());
  const delivered = road.deliveries().map(({ bytes }) => bytes.toString());
  assert.deepEqual(delivered.toSorted(), [...passes, ...reports.map(String)].toSorted());
});

test('where senders are replaced, the null sender stays null, and its From is replaced (law 9)', async (t) => {
  const road = new Road(t);
  const fix = ['--fix-sender', '--default-sender', 'noreply@host.example'];
  const says = await restricted(road, fix);
  assert.match(await says(`${EVIL}\nx\n`), /^2\.0\.0 /);
  assert.match(await says(`${EVIL}${AUTO}\nx\n`), /^2\.0\.0 /);
  const delivered = road.deliveries().map(({ sender, bytes }) => `<${sender}> ${bytes.toString()}`);
  assert.deepEqual(delivered.toSorted(), [
    `<> ${EVIL}${AUTO}\nx\n`,
    '<> From: noreply@host.example\nReply-To: CEO <ceo@bank.example>\n\nx\n',
  ]);
});

test(
  "Exim's own bounces and delay warnings pass a list of senders that does not name it",
  needs('root', 'exim4', 'faketime'),
  async (t) => {
    const exim = await DebianExim.make(t, { split: true });
    await exim.switch('enable');
    await exim.send('me@remote.example', ['nobody-of-that-name@host.example']);
    exim.write('/var/mail/bin', ''); // Not the recipient's, so that Exim puts off its mail itself.
    await exim.send('me@remote.example', ['bin@host.example']);
    await exim.start('env', ['exim4', '-q'], { env: clock('+25h'), input: '' }).ended;
    const reports = exim.spooled();
    const subjects = reports.map(
      ({ bytes }) => /^Subject: ([^:\n]*)/m.exec(String(bytes))?.[1] ?? 'no subject',
    );
    assert.deepEqual(subjects.toSorted(), ['Mail delivery failed', 'Warning']);

    const road = new Road(t);
    const file = join(road.folder, 'keys');
    writeFileSync(file, `# allow-sender @another.example\n${KEY}\n`, { mode: 0o600 });
    await road.proxy(['--keys-file', file]);
    for (const { sender, bytes } of reports) {
      assert.equal(sender, '');
      assert.match(String(bytes), /^From: Mail Delivery System <Mailer-Daemon@/m);
      const post = { key: KEY, sender: '', bytes: bytes ?? '' };
      assert.match((await signedPost(road.address, post)).body.toString(), /"2\.0\.0"/);
    }
    assert.equal(road.deliveries().length, 2);
  },
);
