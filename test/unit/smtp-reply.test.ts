import assert from 'node:assert/strict';
import test from 'node:test';
import { readReply, type SmtpStep } from '../../src/proxy/backends/smtp-reply.ts';

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
    ['250 2.0.0 Ok, although your SMTP relay limit exceeded all', 'message'],
  ];
  for (const [reply, step] of rows) assert.equal(readReply(reply, step).ofRelay, false, reply);
});
