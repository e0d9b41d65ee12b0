import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { decodeFrame, encodeFrame } from '../../src/wire/frame.ts';
import { decodeVerdicts, encodeVerdicts } from '../../src/wire/verdicts.ts';
import { inCheckout } from '../support/program.ts';

const numbers = Array.from({ length: limits.handOverRecipients }, (_, number) => String(number));

/** In JSON a quoted local part may take twice its octets. */
const longest = (start: string) => start.padEnd(limits.addressBytes, '"');

const frameOf = (first: string) =>
  encodeFrame({ sender: '', recipients: [first, ...numbers.slice(1)] });

test('exim-pipe takes as many recipients at once as the transport for Exim hands over', () => {
  const transport = readFileSync(inCheckout('exim/transport'), 'utf8');
  const batch = Number(/^ {2}batch_max = (\d+)$/m.exec(transport)?.[1]);
  assert.ok(batch > 1 && batch <= limits.handOverRecipients, `${batch}`);
});

test('envelopeBytes holds every hand-over of valid addresses', () => {
  const frame = encodeFrame({ sender: longest(''), recipients: numbers.map(longest) });
  assert.ok(frame.length <= limits.envelopeBytes, `${frame.length}`);
});

test('answerBytes holds the verdicts on every envelope that is taken, with the longest reasons', () => {
  // A recipient that is no address may be as long as the line of JSON allows; its LF is not counted.
  const first = 'x'.repeat(limits.envelopeBytes + 1 - frameOf('').length);
  const { envelope } = decodeFrame(frameOf(first));
  assert.throws(() => decodeFrame(frameOf(`${first}x`)), /too long/);

  // In JSON a control character takes six.
  const worst = { status: '5.999.999', reason: '\u0001'.repeat(2 * limits.reasonChars) };
  const id = 'x'.repeat(64);
  const answer = encodeVerdicts(
    id,
    envelope.recipients.map((recipient) => ({ recipient, ...worst })),
  );
  assert.ok(answer.length <= limits.answerBytes, `${answer.length}`);
  const verdicts = decodeVerdicts(answer, id, envelope.recipients);
  assert.ok(Array.isArray(verdicts) && verdicts.length === limits.handOverRecipients);
});

test('everybody waits longer than who it waits for', () => {
  const pairs: [keyof typeof limits, keyof typeof limits][] = [
    ['answerMs', 'postMs'],
    ['connectMs', 'answerMs'],
    ['askEveryMs', 'answerMs'],
    ['answerMs', 'unheardMs'],
    ['busyRetryAfterMs', 'smtpIdleMs'],
    ['appengineDeadlineMs', 'unheardMs'],
    ['clientIdleMs', 'proxyIdleMs'],
    ['renewalMs', 'historyMs'],
  ];
  for (const [less, more] of pairs) assert.ok(limits[less] < limits[more], `${less} < ${more}`);
});

test('law 6: the longest lifetime, outages added, ends before the ledger forgets, with days to spare', () => {
  const longestMs = limits.lifetimeMaxMs + limits.outagesAddedMs;
  assert.ok(longestMs <= limits.renewalMs);
  assert.ok(longestMs + 5 * 86_400_000 <= limits.historyMs);
});
