import assert from 'node:assert/strict';
import test from 'node:test';
import { jmapOutcome } from '../../src/proxy/backends/jmap/jmap-outcome.ts';
import { mailgunOutcome } from '../../src/proxy/backends/mailgun/mailgun-outcome.ts';
import type { CallOutcome } from '../../src/proxy/backends/provider/call-outcome.ts';
import { sesOutcome } from '../../src/proxy/backends/ses/ses-outcome.ts';
import { limits } from '../../src/limits.ts';
import type { Response } from '../../src/wire/exchange.ts';

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return {
    kind: 'response',
    status,
    headers,
    body: Buffer.from(text),
    opening: { turn: 0, insteadOf: [] },
  };
}

/** `sent`, `5.7.1`, `unavailable 10 s`, and so on. */
function brief(outcome: CallOutcome): string {
  if (outcome.kind === 'refused') return outcome.status;
  if (!('retryAfterMs' in outcome)) return outcome.kind;
  return `${outcome.kind} ${(outcome.retryAfterMs ?? NaN) / 1000} s`;
}

/** The clock of the machine, by which a Retry-After is read that is a date. */
const clock = { wallNow: () => Date.parse('2026-11-28T12:00:00Z') };

const slower = `throttled ${limits.providerSlowerMs / 1000} s`;
const full = `throttled ${limits.providerQuotaMs / 1000} s`;
const [soon, minute, quota] = [
  limits.providerSlowerMs,
  limits.providerRefusedMs,
  limits.providerQuotaMs,
].map((ms) => `unavailable ${ms / 1000} s`) as [string, string, string];

const SES: [status: number, type: string, text: string, outcome: string][] = [
  [429, 'TooManyRequestsException', 'Rate exceeded', slower],
  [400, 'ThrottlingException', 'Maximum sending rate exceeded.', slower],
  [400, 'LimitExceededException', 'too much', slower],
  [400, 'ThrottlingException', 'Daily message quota exceeded.', full],
  [429, 'TooManyRequestsException', 'Daily sending quota exceeded', full],
  [400, 'AccountSuspendedException', 'suspended', quota],
  [400, 'SendingPausedException', 'Sending is paused for this account', quota],
  [400, 'MailFromDomainNotVerifiedException', 'not verified', '5.7.1'],
  [400, 'MessageRejected', 'Email address is not verified.', '5.7.1'],
  [400, 'MessageRejected', `Email address is not verified. ${failed('me@example.org')}`, '5.7.1'],
  [
    400,
    'MessageRejected',
    `Email address is not verified. ${failed('b@x.org, me@y.org')}`,
    '5.7.1',
  ],
  [400, 'MessageRejected', `Email address is not verified. ${failed('b@x.org, A@x.org')}`, quota],
  [400, 'MessageRejected', 'Address blacklisted.', 'badAddress'],
  [400, 'MessageRejected', 'Your message contains a virus', '5.6.0'],
  [400, 'BadRequestException', 'Duplicate header Subject', '5.6.0'],
  [400, 'BadRequestException', 'Illegal address', 'badAddress'],
  [400, 'BadRequestException', "Missing final '@domain'", 'badAddress'],
  [400, 'BadRequestException', 'Domain contains illegal character', 'badAddress'],
  [400, 'BadRequestException', 'Message length is more than 41943040 bytes long', '5.3.4'],
  [413, '', 'Request Entity Too Large', '5.3.4'],
  [403, 'InvalidSignatureException', 'the signature does not match', minute],
  [403, 'UnrecognizedClientException', 'the token is invalid', minute],
  [403, 'ExpiredTokenException', 'expired', minute],
  [403, 'AccessDeniedException', 'not authorized to perform ses:SendEmail', minute],
  [403, '', '<html>a firewall</html>', minute],
  [400, 'NotAuthorized', 'You do not have permission to perform this action.', minute],
  [400, 'RequestExpired', 'Request has expired.', minute],
  [400, 'RequestTimeTooSkewed', 'the difference is too large', minute],
  [400, 'OptInRequired', 'The account is not subscribed to the service', minute],
  [400, 'RequestThrottledException', 'slower', slower],
  [404, 'NotFoundException', 'Configuration set does not exist', minute],
  [302, '', '', minute],
  [408, '', '', minute],
  [400, 'MessageRejected', 'Sending paused for this account. For more information, see', quota],
  [400, 'BadRequestException', 'Sending suspended for this account.', quota],
  [400, 'BadRequestException', 'Sending paused for configuration set promo', '4.3.0'],
  [400, 'MessageRejected', 'Maximum sending rate exceeded.', slower],
  [400, 'BadRequestException', 'Recipient count exceeds 50.', '4.3.0'],
  [400, 'MessageRejected', 'Recipient count exceeds 50.', '4.3.0'],
  [400, 'BadRequestException', 'what nobody knows yet', '4.3.0'],
  [400, 'SomethingNewException', 'what nobody knows yet', '4.3.0'],
  [400, '', '<html>a firewall</html>', minute],
  [500, 'InternalFailure', '', 'unknown'],
  [503, 'ServiceUnavailable', '', 'unknown'],
  [504, '', '<html>', 'unknown'],
  [202, '', '', 'unknown'],
];

function failed(identities: string): string {
  return `The following identities failed the check in region EU-WEST-1: ${identities}`;
}

test('law 5: an answer of Amazon SES fails the message only where it is about the message', () => {
  const to = ['a@x.org', 'b@x.org'];
  for (const [status, type, message, expected] of SES) {
    const named = type === '' ? {} : { 'x-amzn-errortype': `${type}:http://x/` };
    const inHeader = answer(status, { message }, named);
    assert.equal(brief(sesOutcome(inHeader, to, true)), expected, `${status} ${type} ${message}`);
    const inBody = answer(status, { __type: `com.amazonaws.ses#${type}`, message });
    if (type !== '') {
      assert.equal(brief(sesOutcome(inBody, to, true)), expected, `${status} ${type}`);
    }
    const first = expected === '5.7.1' ? minute : expected;
    assert.equal(brief(sesOutcome(inHeader, to, false)), first, `${status} ${type} at first`);
  }
  assert.equal(brief(sesOutcome(answer(200, { MessageId: 'x' }), to, false)), 'sent');
  const hotel = answer(200, '<html>welcome to the hotel</html>');
  assert.equal(brief(sesOutcome(hotel, to, false)), 'unknown');
});

const MAILGUN: [status: number, text: string, outcome: string][] = [
  [400, "'to' parameter is not a valid address. please check documentation", 'badAddress'],
  [400, "'from' parameter is not a valid address. please check documentation", '4.3.0'],
  [400, "'message' parameter is not a file", '4.3.0'],
  [400, 'what nobody knows yet', '4.3.0'],
  [400, 'Message size limit exceeded', '5.3.4'],
  [400, 'Header limit exceeded', '4.3.0'],
  [400, 'Domain mail.example.org is disabled', quota],
  [400, 'Sandbox subdomains are for test purposes only. Please add your own domain', quota],
  [400, 'Domain mail.example.org is not allowed to send: The domain is unverified', quota],
  [400, 'Message is too large', '5.3.4'],
  [401, 'Forbidden', minute],
  [402, 'pay', minute],
  [403, 'Domain is disabled', minute],
  [404, 'Domain not found', minute],
  [307, '', minute],
  [413, 'Request Entity Too Large', '5.3.4'],
  [429, 'Too many requests', slower],
  [500, 'Internal Server Error', soon],
  [503, '', soon],
  [502, '<html>', 'unknown'],
  [504, '<html>', 'unknown'],
  [202, '', 'unknown'],
];

test('law 5: an answer of Mailgun fails the message only where it is about the message', () => {
  for (const [status, message, expected] of MAILGUN) {
    assert.equal(
      brief(mailgunOutcome(answer(status, { message }), clock)),
      expected,
      `${status} ${message}`,
    );
  }
  assert.equal(brief(mailgunOutcome(answer(401, 'Forbidden'), clock)), minute);
  assert.equal(
    brief(mailgunOutcome(answer(200, { id: '<1@x>', message: 'Queued.' }), clock)),
    'sent',
  );
  assert.equal(brief(mailgunOutcome(answer(200, 'Queued.'), clock)), 'unknown');
});

test('Mailgun says when it takes more, up to ten minutes', () => {
  const longest = `throttled ${limits.retryAfterMaxMs / 1000} s`;
  for (const [wait, expected] of [
    ['17', 'throttled 17 s'],
    ['Sat, 28 Nov 2026 12:00:17 GMT', 'throttled 17 s'],
    ['86400', longest],
  ] as const) {
    assert.equal(brief(mailgunOutcome(answer(429, '', { 'retry-after': wait }), clock)), expected);
  }
});

const JMAP: Record<string, string> = {
  forbiddenMailFrom: '5.7.1',
  forbiddenFrom: '5.7.1',
  tooLarge: '5.3.4',
  invalidEmail: '5.6.0',
  forbiddenToSend: '4.3.0',
  overQuota: quota,
  rateLimit: slower,
  serverUnavailable: soon,
  serverFail: soon,
  accountNotFound: minute,
  accountReadOnly: minute,
  unknownMethod: minute,
  forbidden: minute,
  noRecipients: '4.3.0',
  invalidProperties: '4.3.0',
  somethingNew: '4.3.0',
};

test('law 5: an error of a JMAP server fails the message only where it is about the message', () => {
  for (const [type, expected] of Object.entries(JMAP)) {
    assert.equal(brief(jmapOutcome({ type, description: 'so it is' })), expected, type);
  }
});
