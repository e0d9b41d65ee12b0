import assert from 'node:assert/strict';
import test from 'node:test';
import { sendersText } from '../../src/proxy/policy/senders-text.ts';

const key = (...senders: string[]) => ({
  secret: Buffer.from('a key of sixteen octets'),
  name: '',
  allowedSenders: senders.length > 0 ? new Set(senders) : undefined,
});
const anybody = { allowed: undefined, defaultSender: undefined, fix: false };

test('who may send is told with the keys that have a list of their own', () => {
  const few = { ...anybody, allowed: new Set(['@example.com', 'me@example.org']) };
  for (const [rules, keys, text] of [
    [anybody, [key()], 'any sender'],
    [few, [key()], 'allowed senders @example.com me@example.org'],
    [
      anybody,
      [key(), key('@a.example')],
      'any sender, but for 1 key with a list of allowed senders',
    ],
    [anybody, [key('@a.example')], 'each key has a list of allowed senders'],
  ] as const) {
    assert.equal(sendersText(rules, keys), text);
  }
});
