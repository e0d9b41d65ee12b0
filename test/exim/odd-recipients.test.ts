import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bsmtp, Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';

/** Recipients as octets, one a code unit: what no mail system takes. */
const bad = [
  '',
  'no-at-sign',
  '@example.net',
  'nobody@',
  'two words@example.net',
  'in@the@middle.example',
  '"unclosed@example.net',
  'a>b@example.net',
  '<nested@example.net>',
  'comma,comma@example.net',
  'tab\t@example.net',
  'nul\0@example.net',
  'bare\rcr@example.net',
  'sp ace@exa mple.net',
  'dots@example..net',
  'dash@-example.net',
  'latin1-\xfc@example.net',
  'half-\xc3@example.net',
  'surrogate-\xed\xa0\x80@example.net',
  '\xff\xfe',
  `${'long'.repeat(80)}@example.net`,
];
/** What one may think is bad and is not. */
const good = [
  'plain@example.net',
  '"a>b"@example.net',
  '"@"@example.net',
  '"quo\\"te"@example.net',
  '..dots..@example.net',
  'under_score@ex_ample.net',
  'literal@[IPv6:2001:db8::1]',
  latin1('ünï@exämple.net'),
  latin1('用户@例え.example'),
];

test('law 4, law 5: of recipients that are no addresses each fails alone with 5.1.3; their neighbours get the message', async (t) => {
  const road = new Road(t);
  const message = 'Subject: test\n\ntest\n';
  // Mixed, and the first one bad.
  const recipients = Array.from({ length: bad.length }, (_, nth) => [bad[nth], good[nth]])
    .flat()
    .filter((recipient) => recipient !== undefined);
  const [from, rest] = split(bsmtp('s@x.example', [], message));
  const stream = Buffer.concat([
    from,
    ...recipients.map((recipient) => Buffer.from(`RCPT TO:<${recipient}>\n`, 'latin1')),
    rest,
  ]);

  const { code, stdout } = await road.pipe('1abc', stream);
  assert.equal(code, 0, stdout.toString());
  const [inSpool] = stored(road.spool);
  assert.deepEqual(
    inSpool?.recipients.map((octets) => octets.toString('latin1')),
    recipients,
  );

  await road.proxy();
  assert.equal((await road.drain(['--once']).ended).code, 0);
  const [listed] = await road.messages();
  const outcomes = listed?.['recipients'] as { address: string; state: string; status: string }[];
  assert.deepEqual(
    outcomes.map(({ state, status }, nth) => [recipients[nth], state, status]),
    recipients.map((recipient) =>
      good.includes(recipient) ? [recipient, 'sent', '2.0.0'] : [recipient, 'failed', '5.1.3'],
    ),
  );
  assert.equal(listed?.['state'], 'failed');
  const [delivered, ...more] = road.deliveries();
  assert.deepEqual(more, []);
  assert.deepEqual(delivered?.recipients.map(latin1).toSorted(), good.toSorted());
  assert.equal(delivered?.bytes.toString(), message);
});

/** A stream before and after the place of its recipients. */
function split(stream: Buffer): [Buffer, Buffer] {
  const place = stream.indexOf('DATA\n');
  return [stream.subarray(0, place), stream.subarray(place)];
}

/** The octets of a text in UTF-8, one a code unit. */
function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
