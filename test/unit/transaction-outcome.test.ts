import assert from 'node:assert/strict';
import test from 'node:test';
import { readReply } from '../../src/proxy/backends/smtp/read-reply.ts';
import {
  transactionOutcome,
  type TransactionFacts,
} from '../../src/proxy/backends/smtp/transaction-outcome.ts';

type Stage = TransactionFacts['stage'];

/** The stage, the reply to the whole message, whether a reply is about the relay, whether the connection is reused. */
const rows: [outcome: string, Stage, reply: string, isOfRelay: boolean, isReused: boolean][] = [
  ['answered', 'whole', '250 2.0.0 ok', false, false],
  ['answered', 'whole', '250 2.0.0 ok, but one recipient was refused for the relay', true, true],
  ['answered', 'whole', '554 5.7.1 spam', false, false],
  ['answered', 'envelope', '550 5.1.1 no such user', false, true],
  ['answered', 'message', '552 5.3.4 too large', false, false],

  ['unavailable', 'envelope', '', false, false],
  ['unavailable', 'message', '', false, true],
  ['unavailable', 'envelope', '535 5.7.8 who are you', true, true],
  ['unavailable', 'envelope', '421 4.3.2 bye', true, false],
  ['unavailable', 'message', '421 4.3.2 bye', true, true],
  ['unavailable', 'whole', '550 5.4.5 daily limit', true, true],

  ['stale', 'envelope', '', false, true],
  ['stale', 'envelope', '421 4.3.2 idle for too long', true, true],

  ['unknown', 'whole', '', false, false],
  ['unknown', 'whole', '', true, true],
  ['unknown', 'message', '250 2.0.0 ok, before the end', false, false],
  ['unknown', 'envelope', '250 2.0.0 ok, before the message', false, true],
];

test('what came of a transaction follows from how far it got, the reply and the connection (law 5, law 6)', () => {
  for (const [outcome, stage, reply, isOfRelay, isReused] of rows) {
    const final = reply === '' ? undefined : readReply(reply, 'message');
    const { kind } = transactionOutcome({ stage, final, isOfRelay, isReused });
    assert.equal(kind, outcome, `${stage}, "${reply}"`);
  }
});
