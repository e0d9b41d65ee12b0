import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { withoutBcc } from '../../src/mail/without-bcc.ts';
import { holds } from '../support/holds.ts';

const without = (message: string) => withoutBcc(Buffer.from(message, 'latin1')).toString('latin1');

test('Bcc and Resent-Bcc are removed, wherever and however often', () => {
  assert.equal(
    without('Bcc: a@b\r\nTo: c@d\r\nRESENT-BCC : e@f,\r\n g@h\r\nX: \xff\r\n\r\nBcc: body\r\n'),
    'To: c@d\r\nX: \xff\r\n\r\nBcc: body\r\n',
  );
  assert.equal(without('Bcc: a@b'), '');
  assert.equal(without('\nBcc: body\n\rBcc: body'), '\nBcc: body\n\rBcc: body');
});

test('what a CR alone makes a Bcc of is removed, to the end of the field', () => {
  for (const end of ['\n', '\r\n']) {
    assert.equal(
      without(`X: \xff\rBcc: a@b,${end}\tc@d\rresent-bcc:e@f${end}To: g@h${end}${end}\rBcc: body`),
      `X: \xff${end}To: g@h${end}${end}\rBcc: body`,
    );
  }
  assert.equal(without('X: y\rbcc\t: a@b'), 'X: y');
  const none = 'X: y\r Bcc: folded\rNo-Bcc: z\n\nx';
  assert.equal(without(none), none);
});

test('by SMTP there is never a Bcc, and no message is changed that has none', (t) => {
  const pieces = ['\r', '\n', '\r\n', ' ', 'Bcc:', 'resent-BCC :', 'To:', 'x', '\xff'];
  const message = fc.array(fc.constantFrom(...pieces)).map((parts) => parts.join(''));
  holds(
    t,
    fc.property(message, (text) => {
      const [head = ''] = without(text).split(/(?:^|\n)\r?\n/, 1);
      assert.doesNotMatch(head.replace(/\r\n?/g, '\n'), /^(?:resent-)?bcc[ \t]*:/im);
      if (!/bcc/i.test(text)) assert.equal(without(text), text);
    }),
    5000,
  );
});
