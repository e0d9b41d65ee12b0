import assert from 'node:assert/strict';
import test from 'node:test';
import { headerValues, parseHeaders } from '../../src/mail/headers.ts';

test('fields are found by name, and only what is asked for is decoded', (t) => {
  const message = Buffer.from(
    `${'a:\n'.repeat(10_000)}From : One\r\n <a@b>\r\n: none\nno colon\nX(\t: y\nTO:\xe9: c@d\n\nTo: e@f\n`,
    'latin1',
  );
  const decode = t.mock.method(TextDecoder.prototype, 'decode');
  const headers = parseHeaders(message);
  assert.equal(decode.mock.callCount(), 0);
  assert.deepEqual(
    headers.fields.slice(10_000).map(({ name }) => name),
    ['from', '', '', 'x(', 'to'],
  );
  assert.equal(message.toString('latin1', headers.bodyAt), 'To: e@f\n');
  assert.deepEqual(headerValues(message, headers, 'to', 'from'), ['One <a@b>', '\xe9: c@d']);
  assert.equal(decode.mock.callCount(), 2);
});
