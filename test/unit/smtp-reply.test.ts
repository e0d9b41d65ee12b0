import assert from 'node:assert/strict';
import test from 'node:test';
import { readReply, type SmtpStep } from '../../src/proxy/backends/smtp/read-reply.ts';

test('a reply has its own enhanced status, and one line for people', () => {
  const rows: [string, SmtpStep, string, string][] = [
    ['250 2.0.0 Ok: queued as 1', 'message', '2.0.0', '250 2.0.0 Ok: queued as 1'],
    ['550 5.1.1 no such user', 'RCPT', '5.1.1', '550 5.1.1 no such user'],
    ['550-5.1.1 no such\n550 5.1.1 user', 'RCPT', '5.1.1', '550 5.1.1 no such user'],
    ['550-first\n550-\n550 last', 'RCPT', '5.0.0', '550 first last'],
    ['451 4.7.1\tgreylisted', 'RCPT', '4.7.1', '451 4.7.1 greylisted'],
    ['550 5.1.1', 'RCPT', '5.1.1', '550 5.1.1'],
  ];
  for (const [reply, step, status, reason] of rows) {
    assert.deepEqual(readReply(reply, step), { status, reason, ofRelay: false }, reply);
  }
  assert.equal(readReply(`550 ${'x'.repeat(10_000)}`, 'RCPT').reason.length, 500);
});

test('without an enhanced status of its class, a reply has x.0.0', () => {
  const rows: [string, SmtpStep, string][] = [
    ['250 OK id=1abc', 'message', '2.0.0'],
    ['250', 'message', '2.0.0'],
    ['450 mailbox busy', 'RCPT', '4.0.0'],
    ['452 too many recipients', 'RCPT', '4.0.0'],
    ['550 no such user', 'RCPT', '5.0.0'],
    ['554 spam', 'message', '5.0.0'],
    ['550 4.2.1 a class that is not the code’s', 'RCPT', '5.0.0'],
    ['451 5.1.1 the same', 'RCPT', '4.0.0'],
    ['250 5.1.1 and that', 'message', '2.0.0'],
    ['550 5.1.1234 no status', 'RCPT', '5.0.0'],
    ['550 5.1.1x no status', 'RCPT', '5.0.0'],
    ['552 too large', 'MAIL', '5.3.4'],
    ['552 too large', 'message', '5.3.4'],
    ['552 mailbox full', 'RCPT', '5.0.0'],
    ['552 5.2.3 with its own', 'MAIL', '5.2.3'],
  ];
  for (const [reply, step, status] of rows) {
    const read = readReply(reply, step);
    assert.deepEqual([read.status, read.ofRelay], [status, false], reply);
  }
});

test("what is the relay's trouble and no message's (law 5)", () => {
  const rows: [string, SmtpStep][] = [
    ['421 4.7.0 too many connections', 'MAIL'],
    ['421 4.3.2 shutting down', 'message'],
    ['530 5.7.0 Authentication Required', 'MAIL'],
    ['530 Must issue a STARTTLS command first', 'RCPT'],
    ['534 5.7.9 use an app password', 'MAIL'],
    ['535 5.7.8 credentials invalid', 'RCPT'],
    ['538 encryption required', 'MAIL'],
    ['454 4.7.0 temporary authentication failure', 'MAIL'],
    ['550 5.7.8 credentials invalid', 'RCPT'],
    ['550 5.7.14 log in with your browser', 'message'],
    ['503 AUTH first', 'MAIL'],
    ['450 4.3.2 not accepting mail', 'MAIL'],
    ['550 5.4.5 Daily user sending limit exceeded', 'message'],
    ['451 4.4.5 busy', 'RCPT'],
    ['450 4.2.1 Peak SMTP relay limit exceeded for customer', 'RCPT'],
    ['550 5.7.1 Daily SMTP relay sending limit exceeded for this user', 'RCPT'],
    ['550-5.7.1 Invalid credentials for\n550 5.7.1 relay [192.0.2.1]', 'MAIL'],
    ['550 5.7.0 Mail relay denied', 'RCPT'],
    ['550 5.7.30 Basic authentication is not supported for Client Submission.', 'MAIL'],
    ['550 5.7.57 Client not authenticated to send mail. [X.EURPRD01.PROD.OUTLOOK.COM]', 'MAIL'],
    [
      "550 5.7.232 Your message can't be sent because your trial tenant has exceeded its",
      'message',
    ],
    ["550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit", 'RCPT'],
    ["550 5.7.236 Your message can't be sent because your tenant exceeded its limit", 'RCPT'],
    ['550 5.7.501 Service unavailable. Access denied, spam abuse detected. AS(2)', 'message'],
    ['550 5.7.502 Access denied, banned sender.', 'MAIL'],
    ['550 5.7.503 Access denied, banned sender.', 'message'],
    ['550 5.7.506 Access Denied, Bad HELO.', 'MAIL'],
    ['550 5.7.508 Access denied, [2001:db8::1] has exceeded permitted limits within', 'RCPT'],
    ['550 5.7.511 Access denied, banned sender[192.0.2.1]. To request removal', 'RCPT'],
    ['550 5.7.606 Access denied, banned sending IP [192.0.2.1]', 'RCPT'],
    ['550 5.7.649 Access denied, banned sending IP [192.0.2.1]', 'MAIL'],
    ['550 5.7.700 Access denied, tenant has exceeded threshold.', 'message'],
    ['550 5.7.705 Access denied, tenant has exceeded threshold. AS(7565)', 'message'],
    ['550-5.7.705 Access denied,\n550 5.7.705 tenant has exceeded threshold', 'RCPT'],
    ['550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.', 'RCPT'],
    ['550 5.7.749 Access denied, traffic not accepted from this IP.', 'RCPT'],
    ['550 5.7.750 Service unavailable. Client blocked from sending from unregistered', 'message'],
    ['550 5.1.8 Access denied, bad outbound sender. AS(42004)', 'message'],
    ["550 5.1.90 Your message can't be sent because you've reached your daily limit", 'RCPT'],
    ['554 Message rejected: Sending paused for this account. For more information', 'message'],
    ['554 Sending paused for this account', 'MAIL'],
    ['550 5.7.1 Sending suspended', 'RCPT'],
    ['454 Sending is suspended for your account', 'MAIL'],
    ['554 Message rejected: Email address is not verified.', 'message'],
    ['554-Message rejected:\n554 Email address is not verified. The following', 'message'],
    ['hello', 'MAIL'],
    ['350 what', 'RCPT'],
  ];
  for (const [reply, step] of rows) assert.equal(readReply(reply, step).ofRelay, true, reply);
});

test("what may be the message's is the message's", () => {
  const rows: [string, SmtpStep][] = [
    ['503 5.5.1 no valid recipients', 'DATA'],
    ['550 5.7.1 relaying denied', 'RCPT'],
    ['550 5.7.1 looks like spam', 'message'],
    ['550 5.7.1 I quote: 421 530 535', 'message'],
    ['451 4.3.0 try again', 'MAIL'],
    ['452 4.3.1 insufficient system storage', 'MAIL'],
    ['552 5.2.2 mailbox quota exceeded', 'RCPT'],
    ['450 4.2.1 The user is receiving mail too quickly', 'RCPT'],
    ['452 4.5.3 too many recipients', 'RCPT'],
    ['550 5.7.30 REQUIRETLS support required', 'MAIL'],
    ['550 5.7.3 STARTTLS is required to send mail', 'RCPT'],
    ['550 5.7.23 The message was rejected because of Sender Policy Framework violation', 'message'],
    ['550 5.7.230 what nobody has defined', 'RCPT'],
    ['550 5.7.500 what nobody has defined', 'RCPT'],
    ['550 5.7.504 <r@example.org>: Recipient address rejected: Access denied', 'RCPT'],
    ['550 5.7.505 Access denied, banned recipient.', 'RCPT'],
    ['550 5.7.507 Access denied, rejected by recipient.', 'RCPT'],
    ['550 5.7.509 Access denied, sending domain example.com does not pass DMARC', 'message'],
    ['550 5.7.510 Access denied, example.org does not accept email over IPv6', 'RCPT'],
    ['550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant', 'message'],
    ['550 5.7.513 Service unavailable, client host blocked by example.org', 'RCPT'],
    ['550 5.7.520 Access denied, your organization does not allow external forwarding', 'message'],
    ['550 5.7.605 what nobody has defined', 'RCPT'],
    ['550 5.7.703 messages to r@example.org are blocked by your organization', 'message'],
    ['550 5.7.751 what nobody has defined', 'RCPT'],
    ['550 5.7.60 Client does not have permissions to send as this sender', 'message'],
    ['550 5.1.8 who is that', 'MAIL'],
    ['550 5.1.90 what else', 'RCPT'],
    ['550 5.2.1 the account of this recipient is suspended', 'RCPT'],
    ['550 5.7.1 it speaks of tenant has exceeded threshold 5.7.705', 'message'],
    ['554 5.7.1 recipient: email address is not verified by us', 'RCPT'],
    ['250 2.0.0 Ok, although sending paused', 'message'],
    ['250 2.0.0 Ok, although your SMTP relay limit exceeded all', 'message'],
  ];
  for (const [reply, step] of rows) assert.equal(readReply(reply, step).ofRelay, false, reply);
});

test("what is the account's trouble at Microsoft or Amazon SES is no message's (law 5)", () => {
  const banned = 'Access denied, banned sender';
  const rows: [string, SmtpStep][] = [
    ['550 5.7.30 Basic authentication is not supported for Client Submission', 'MAIL'],
    ["550 5.7.232 Your message can't be sent because your trial tenant has …", 'message'],
    ['550 5.7.233 Your message can’t be sent because your tenant exceeded its daily limit', 'RCPT'],
    ['550 5.7.236 … from onmicrosoft.com domains', 'message'],
    ['550 5.7.501 Access denied, spam abuse detected', 'message'],
    [`550 5.7.502 ${banned}`, 'MAIL'],
    [`550 5.7.503 ${banned}`, 'RCPT'],
    ['550 5.7.506 Access Denied, Bad HELO', 'RCPT'],
    ['550 5.7.508 Access denied, [2001:db8::1] has exceeded permitted limits', 'RCPT'],
    [`550 5.7.511 ${banned}[192.0.2.1]. To request removal`, 'RCPT'],
    ['550 5.7.606 Access denied, banned sending IP [192.0.2.1]', 'RCPT'],
    ['550 5.7.649 Access denied, banned sending IP [192.0.2.1]', 'MAIL'],
    ['550 5.7.700 Access denied, tenant has exceeded threshold', 'message'],
    ['550 5.7.705 Access denied, tenant has exceeded threshold', 'message'],
    ['550 5.7.708 Access denied, traffic not accepted from this IP', 'message'],
    ['550 5.7.750 Client blocked from sending from unregistered domains', 'message'],
    ['550 5.1.8 Access denied, bad outbound sender. AS(42004)', 'RCPT'],
    [
      "550 5.1.90 Your message can't be sent, you've reached your daily limit for message recipients",
      'message',
    ],
    ["554 5.2.0 the sender's submission quota exceeded", 'message'],
    ['554 5.2.2 STOREDRV.Submission.Exception:SubmissionQuotaExceededException', 'message'],
    ['550 5.2.252 Sender throttled due to continuous send as denied errors', 'message'],
    ['554 Sending paused for this account. For more information, please check', 'message'],
    ['550 5.0.0 Sending suspended for this account', 'MAIL'],
    ['554 Message rejected: Sending has been paused', 'message'],
    ['554 Message rejected: Email address is not verified. The following', 'message'],
  ];
  for (const [reply, step] of rows) assert.equal(readReply(reply, step).ofRelay, true, reply);
});

test("what Microsoft and Amazon SES say of one recipient, sender or message is the message's", () => {
  const rows: [string, SmtpStep][] = [
    ['550 5.7.30 REQUIRETLS support required', 'RCPT'],
    ['550 5.7.23 SPF validation failed', 'message'],
    ['550 5.7.133 Sender not authenticated for the group', 'RCPT'],
    ['550 5.7.50 some policy', 'RCPT'],
    ['550 5.7.504 [a@example.org]: Recipient address rejected: Access denied', 'RCPT'],
    ['550 5.7.505 Access denied, banned recipient', 'RCPT'],
    ['550 5.7.507 Access denied, rejected by recipient', 'RCPT'],
    [
      '550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification',
      'message',
    ],
    ['550 5.7.510 Access denied, example.org does not accept email over IPv6', 'RCPT'],
    ['550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant', 'message'],
    [
      '550 5.7.513 Client host [192.0.2.1] blocked by example.org using Customer Block list',
      'RCPT',
    ],
    ['550 5.7.520 Access denied, your organization does not allow external forwarding', 'message'],
    ['550 5.7.605 not known', 'RCPT'],
    ['550 5.7.650 not known', 'RCPT'],
    ['550 5.7.703 messages to a@example.org are blocked by your organization', 'message'],
    ['550 5.7.7051 no status of this table', 'message'],
    ['550 5.7.800 Access denied, banned sender', 'message'],
    ['451 4.7.500 Server busy. Please try again later', 'MAIL'],
    ['550 5.1.8 who is that', 'MAIL'],
    ['550 5.1.10 Recipient not found', 'RCPT'],
    ['554 5.2.252 SendAsDenied; u@example.com not allowed to send as s@example.com', 'message'],
    ['550 5.2.1 the account of this recipient is suspended', 'RCPT'],
    ['552 5.2.2 mailbox quota exceeded', 'RCPT'],
    ['554 Sending paused for configuration set a', 'message'],
    ['554 Sending paused for the configuration set a', 'message'],
    ['554 Message rejected: address is on the suppression list', 'message'],
    ['250 Ok: Sending paused', 'message'],
  ];
  for (const [reply, step] of rows) assert.equal(readReply(reply, step).ofRelay, false, reply);
});
