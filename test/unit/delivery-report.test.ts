import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import {
  deliveryReport,
  summaryReport,
  type DeliveryReport,
} from '../../src/mail/delivery-report.ts';
import { limits } from '../../src/limits.ts';
import { assertGolden } from '../support/golden.ts';
import { holds } from '../support/holds.ts';

const AT = Date.UTC(2026, 10, 22, 12);
const reporter = { host: 'mx.host.example', domain: 'host.example', now: AT, name: 'ab12' };
const report: DeliveryReport = {
  kind: 'failure',
  to: 'sender@host.example',
  id: '0123456789abcdef0123456789abcdef',
  eximId: '1abc-0',
  queuedAt: AT - 60_000,
  triedUntil: AT + 3_600_000,
  recipients: [
    { address: 'you@remote.example', status: '5.1.1', reason: 'no such user' },
    { address: 'ünï@remote.example', status: '5.2.2', reason: 'mailbox full\r\nX-Bad: 1' },
  ],
  original: { bytes: Buffer.from('Subject: x\nTo: you\n\n.\nbody\n'), whole: true },
};

/** The parts of a MIME message by its own boundary: the head, and each part's head and body. */
function partsOf(mail: Buffer): { head: string; parts: { head: string; body: string }[] } {
  const text = mail.toString('latin1');
  const boundary = /boundary="([^"]+)"/.exec(text)?.[1] ?? '';
  const [head = '', ...rest] = text.split(`\r\n--${boundary}`);
  assert.equal(rest.pop(), '--\r\n');
  return {
    head,
    parts: rest.map((part) => {
      const at = part.indexOf('\r\n\r\n');
      return { head: part.slice(2, at), body: part.slice(at + 4) };
    }),
  };
}

test('a report is one for people, one for programs, and the message (RFC 3464, RFC 6522)', () => {
  const { head, parts } = partsOf(deliveryReport(report, reporter));
  assert.match(head, /^Content-Type: multipart\/report; report-type=delivery-status;/m);
  assert.match(head, /^Auto-Submitted: auto-replied\r$/m);
  assert.match(head, /^From: Mail Delivery System <MAILER-DAEMON@host\.example>\r$/m);
  assert.match(head, /^Message-ID: <ab12@host\.example>\r$/m);
  assert.match(head, /^Date: Sun, 22 Nov 2026 12:00:00 \+0000\r$/m);
  const [people, programs, message] = parts;
  assert.match(
    people?.body ?? '',
    /you@remote\.example\r\n {4}There is no such address.*\r\n {4}The answer was: 5\.1\.1 no such user\r\n/,
  );
  assert.equal(
    programs?.head,
    'Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: 7bit',
  );
  assert.equal(
    programs?.body,
    [
      'Reporting-MTA: dns; mx.host.example',
      'Original-Envelope-Id: 0123456789abcdef0123456789abcdef',
      'Arrival-Date: Sun, 22 Nov 2026 11:59:00 +0000',
      '',
      'Final-Recipient: rfc822; you@remote.example',
      'Action: failed',
      'Status: 5.1.1',
      'Diagnostic-Code: x-appengine-mailer; 5.1.1 no such user',
      '',
      String.raw`Final-Recipient: utf-8; \x{FC}n\x{EF}@remote.example`,
      'Action: failed',
      'Status: 5.2.2',
      String.raw`Diagnostic-Code: x-appengine-mailer; 5.2.2 mailbox full\x0d\x0aX-Bad: 1`,
      '',
    ].join('\r\n'),
  );
  assert.match(message?.head ?? '', /^Content-Type: message\/rfc822\r\n.*7bit$/);
  assert.equal(message?.body, 'Subject: x\nTo: you\n\n.\nbody\n');
});

test('what a mail server said is told as its reply, with its name (RFC 3464 2.3.5, 2.3.6)', () => {
  const reason = '550 5.1.1 no such user';
  const recipient = { address: 'you@remote.example', status: '5.1.1', reason };
  for (const [remoteMta, name, says] of [
    [
      'mx.remote.example',
      /^Remote-MTA: dns; mx\.remote\.example$/m,
      'The mail server mx.remote.example answered',
    ],
    ['[192.0.2.1]', /^Remote-MTA: dns; \[192\.0\.2\.1\]$/m, 'The mail server [192.0.2.1] answered'],
    // A proxy of before does not name it.
    ['', /^(?![^]*Remote-MTA)/, 'The answer was'],
  ] as const) {
    const recipients = [{ ...recipient, remoteMta }];
    const { parts } = partsOf(deliveryReport({ ...report, recipients }, reporter));
    const [people = '', programs = ''] = parts.map(({ body }) => body.replaceAll('\r\n', '\n'));
    assert.match(programs, /^Diagnostic-Code: smtp; 550 5\.1\.1 no such user$/m);
    assert.match(programs, name);
    assert.ok(people.includes(`\n    ${says}: ${reason}\n`), people);
  }
});

test('every part has a transfer encoding, and the whole has the widest of theirs (RFC 2045 6.4)', () => {
  const ascii = { address: 'you@remote.example', status: '5.1.1', reason: 'no such user' };
  for (const [text, address, widths] of [
    ['x', ascii.address, ['7bit', '7bit', '7bit', '7bit']],
    ['ü', ascii.address, ['8bit', '7bit', '7bit', '8bit']],
    ['x', 'ünï@remote.example', ['8bit', '8bit', '7bit', '7bit']],
    ['a\0b', ascii.address, ['7bit', '7bit', '7bit', 'base64']],
  ] as const) {
    const original = { bytes: Buffer.from(`Subject: x\n\n${text}\n`), whole: true };
    const recipients = [{ ...ascii, address }];
    const { head, parts } = partsOf(deliveryReport({ ...report, recipients, original }, reporter));
    const heads = [head.split('\r\n\r\n')[0] ?? '', ...parts.map((part) => part.head)];
    const encodings = heads.map((each) => /^Content-Transfer-Encoding: (\S+)$/m.exec(each)?.[1]);
    assert.deepEqual(encodings, widths);
  }
});

test('a delay says until when it is tried', () => {
  const text = deliveryReport({ ...report, kind: 'delay' }, reporter).toString('latin1');
  assert.match(text, /^Action: delayed\r$/m);
  assert.match(text, /^Will-Retry-Until: Sun, 22 Nov 2026 13:00:00 \+0000\r$/m);
  assert.match(text, /need not send it again/);
});

test('what SMTP would not carry as it is comes back in base64, to the byte', () => {
  for (const odd of ['a\0b', 'a\rb', 'l'.repeat(999), `${'é'.repeat(600)}\n`]) {
    const bytes = Buffer.from(`Subject: x\n\n${odd}\n`);
    const original = { bytes, whole: true };
    const { head = '', body = '' } =
      partsOf(deliveryReport({ ...report, original }, reporter)).parts[2] ?? {};
    assert.match(head, /base64$/);
    assert.deepEqual(Buffer.from(body, 'base64'), bytes);
  }
});

test('where only the header comes back the report says so, also in base64', () => {
  const fit = { bytes: Buffer.from('Subject: x\n\n'), whole: false };
  const [people, , header] = partsOf(deliveryReport({ ...report, original: fit }, reporter)).parts;
  assert.match(people?.body ?? '', /^The header of your message is attached\.\r$/m);
  assert.match(header?.head ?? '', /^Content-Type: text\/rfc822-headers\r$/m);
  for (const [whole, name] of [
    [true, 'message.eml'],
    [false, 'header.txt'],
  ] as const) {
    const original = { bytes: Buffer.from('Subject: \0\n\n'), whole };
    const [, , encoded] = partsOf(deliveryReport({ ...report, original }, reporter)).parts;
    assert.match(encoded?.head ?? '', new RegExp(`; name=${name}\r$`, 'm'));
    assert.match(encoded?.head ?? '', new RegExp(`; filename=${name}\r$`, 'm'));
  }
});

test('a boundary in the message is no boundary', () => {
  const bytes = Buffer.from('Subject: x\n\n--report-0-ab12--\n');
  const { parts } = partsOf(
    deliveryReport({ ...report, original: { bytes, whole: true } }, reporter),
  );
  assert.equal(parts.length, 3);
});

test('a summary names every recipient, what failed apart from what waits', () => {
  const messages = [
    report,
    {
      ...report,
      kind: 'delay' as const,
      recipients: [{ address: 'late@x', status: '4.2.2', reason: 'full' }],
    },
  ];
  const text = summaryReport('s@host.example', messages, reporter).toString();
  const [failed, delayed] = text.split('These messages are delayed.');
  assert.match(failed ?? '', /you@remote\.example/);
  assert.match(delayed ?? '', /late@x/);
  assert.match(text, /^Auto-Submitted: auto-replied\r$/m);
});

const waiting = {
  address: 'late@remote.example',
  status: '4.2.2',
  reason: '452 4.2.2 mailbox full',
  remoteMta: 'mx.remote.example',
};
const delay: DeliveryReport = { ...report, kind: 'delay', recipients: [waiting] };
for (const [name, mail] of [
  ['failure', deliveryReport(report, reporter)],
  ['warning', deliveryReport({ ...delay, original: undefined }, reporter)],
  ['summary', summaryReport('sender@host.example', [report, delay], reporter)],
] as const) {
  test(`the whole ${name} is as in its golden file`, () => {
    // Git keeps text files with LF.
    assertGolden(`test/unit/golden/${name}.eml`, mail.toString().replaceAll('\r\n', '\n'));
  });
}

const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom('\r\n', '\n.\n', '\0', '\udc8a', '--', '; '),
      fc.string({ unit: 'binary' }),
    ),
  )
  .map((pieces) => pieces.join(''));

test('whatever is in addresses, reasons and message, a report is well-formed and bounded', (t) => {
  holds(
    t,
    fc.property(
      hostile,
      hostile,
      fc.uint8Array(),
      fc.boolean(),
      (address, reason, bytes, whole) => {
        const recipients = [{ address, status: '5.0.0', reason: reason.repeat(50) }];
        const original = { bytes: Buffer.from(bytes), whole };
        const mail = deliveryReport({ ...report, to: address, recipients, original }, reporter);
        const { head, parts } = partsOf(mail);
        assert.equal(parts.length, 3);
        for (const text of [head, parts[1]?.body ?? '']) {
          assert.match(text, /^(?:[\x20-\x7e\t]*(?:\r\n|$))*$/);
          assert.ok(text.split('\r\n').every((line) => line.length < 998));
        }
        for (const line of head.split('\r\n').slice(0, 7)) assert.match(line, /^[A-Z][\w-]+: /);
        assert.ok(mail.length < bytes.length * 2 + 12 * limits.failureChars * 4);
      },
    ),
  );
});
