import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { statusClass, statuses } from '../../src/mail/enhanced-status.ts';
import { holds } from '../support/holds.ts';

test('the first digit of an enhanced status is its class (law 5)', (t) => {
  const part = fc.nat(999);
  const classes = { 2: 'sent', 4: 'deferred', 5: 'failed' } as const;
  holds(
    t,
    fc.property(fc.constantFrom(2, 4, 5), part, part, (first, subject, detail) => {
      assert.equal(statusClass(`${first}.${subject}.${detail}`), classes[first]);
    }),
  );
});

const none = ['', '5', '5.1', '5.1.1.1', '550', '550 5.1.1', '5.1.1 no', ' 5.1.1', '5.1.1\n'];
const nearly = ['0.0.0', '1.0.0', '3.0.0', '6.0.0', '55.1.1', '5.1234.1', '5.1.1234', '5..1'];
for (const text of [...none, ...nearly, '5.1.', '5,1,1', '٥.١.١', '-5.1.1', '5.-1.1', '5.1.x']) {
  test(`not an enhanced status: ${JSON.stringify(text)} (law 5)`, () => {
    assert.equal(statusClass(text), undefined);
  });
}

test('only N.N.N with 2, 4 or 5 first has a class (law 5)', (t) => {
  const text = fc.array(fc.constantFrom('2', '3', '4', '5', '.', '5.', '1', '99', ' ', '\n', 'x'));
  holds(
    t,
    fc.property(text, (pieces) => {
      const status = pieces.join('');
      const [first = '', ...rest] = status.split('.');
      const isStatus =
        ['2', '4', '5'].includes(first) &&
        rest.length === 2 &&
        rest.every((part) => part.length <= 3 && part !== '' && !/[^0-9]/.test(part));
      assert.equal(statusClass(status) !== undefined, isStatus);
    }),
    2000,
  );
});

test('the statuses that we give ourselves have the class that their name says', () => {
  const expected: Record<keyof typeof statuses, string> = {
    sent: 'sent',
    inProgress: 'deferred',
    slower: 'deferred',
    unknown: 'deferred',
    trouble: 'deferred',
    damaged: 'deferred',
    unreached: 'deferred',
    surplus: 'deferred',
    tooManyRecipients: 'failed',
    badRecipient: 'failed',
    badSender: 'failed',
    tooLarge: 'failed',
    noSmtpUtf8: 'failed',
    senderRefused: 'failed',
    cancelled: 'failed',
    expired: 'failed',
    badContent: 'failed',
  };
  const classes = Object.entries(statuses).map(([name, status]) => [name, statusClass(status)]);
  assert.deepEqual(Object.fromEntries(classes), expected);
});
