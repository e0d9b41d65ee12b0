import assert from 'node:assert/strict';
import test from 'node:test';
import type { SMTPError } from 'nodemailer/lib/smtp-connection';
import { submissionOf, type Submission } from '../../src/drain/reports/submit-report.ts';
import type { SmtpSent } from '../../src/host/net/smtp-client.ts';

type Kind = Submission['kind'];
type Stage = SmtpSent['stage'];

/** A reply to a command, as nodemailer makes an error of it. */
function refusal(command: string, response: string): SMTPError {
  const code = command === 'message' ? 'EMESSAGE' : 'EENVELOPE';
  const responseCode = Number(response.slice(0, 3));
  const at = command === 'message' ? 'DATA' : command;
  return Object.assign(new Error(response), { code, command: at, response, responseCode });
}

const silence = Object.assign(new Error('no answer within 600 s'), {}) as SMTPError;
const hungUp = Object.assign(new Error('Connection closed unexpectedly'), {
  code: 'ECONNECTION',
  command: 'CONN',
}) as SMTPError;
const closing = Object.assign(new Error('Server closed the connection: 421 bye'), {
  code: 'ECONNECTION',
  command: 'CONN',
  responseCode: 421,
}) as SMTPError;
const unfit = Object.assign(new Error('Invalid recipient'), {
  code: 'EENVELOPE',
  command: 'API',
}) as SMTPError;

const meanings: [string, SMTPError, Stage, Kind][] = [
  ['refuses the null sender', refusal('MAIL FROM', '550 no bounces'), 'envelope', 'unavailable'],
  ['defers the null sender', refusal('MAIL FROM', '451 later'), 'envelope', 'unavailable'],
  ['closes at MAIL', refusal('MAIL FROM', '421 bye'), 'envelope', 'unavailable'],
  ['refuses the recipient', refusal('RCPT TO', '550 unknown'), 'envelope', 'refused'],
  ['defers the recipient', refusal('RCPT TO', '451 later'), 'envelope', 'deferred'],
  ['closes after MAIL', closing, 'envelope', 'deferred'],
  ['refuses DATA', refusal('DATA', '554 no'), 'envelope', 'refused'],
  ['defers DATA', refusal('DATA', '451 later'), 'envelope', 'deferred'],
  ['cannot take the address', unfit, 'envelope', 'refused'],
  ['is silent at RCPT', silence, 'envelope', 'deferred'],
  ['hangs up in the envelope', hungUp, 'envelope', 'deferred'],
  ['is silent within the message', silence, 'message', 'deferred'],
  ['hangs up within the message', hungUp, 'message', 'deferred'],
  ['refuses the message', refusal('message', '550 spam'), 'whole', 'refused'],
  ['defers the message', refusal('message', '451 later'), 'whole', 'deferred'],
  ['closes at the message', refusal('message', '421 bye'), 'whole', 'deferred'],
  ['is silent after the dot', silence, 'whole', 'unanswered'],
  ['hangs up after the dot', hungUp, 'whole', 'unanswered'],
  ['closes after the dot', closing, 'whole', 'unanswered'],
  ['answers the dot with 354', refusal('message', '354 go on'), 'whole', 'unanswered'],
];
for (const [what, ended, stage, kind] of meanings) {
  test(`a report is ${kind} when the mail server ${what}`, () => {
    assert.equal(submissionOf({ ended, rejected: [], stage }).kind, kind);
  });
}

test('a report is taken by a 2xx to the whole of it, and may have been by one that comes early', () => {
  const ended = { response: '250 ok' } as SmtpSent['ended'];
  assert.equal(submissionOf({ ended, rejected: [], stage: 'whole' }).kind, 'taken');
  assert.equal(submissionOf({ ended, rejected: [], stage: 'message' }).kind, 'unanswered');
});
