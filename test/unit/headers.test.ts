import assert from 'node:assert/strict';
import test from 'node:test';
import {
  editHeaders,
  fieldsNamed,
  headerSize,
  headerValues,
  lineEndOf,
  parseHeaders,
} from '../../src/mail/headers.ts';

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

for (const [what, message, size, bodyAt] of [
  ['LF', 'A: b\n\nbody', 5, 6],
  ['CRLF', 'A: b\r\n\r\nbody', 6, 8],
  ['LF and then CRLF', 'A: b\n\r\nbody', 5, 7],
  ['a body with another empty line of the other kind', 'A: b\r\n\r\nx\n\ny', 6, 8],
  ['no header', '\nbody', 0, 1],
  ['no header, in CRLF', '\r\nbody', 0, 2],
  ['no body', 'A: b\n', 5, undefined],
  ['no line end', 'A: b', 4, undefined],
  ['nothing', '', 0, undefined],
  // A CR alone ends no line (RFC 5322 2.1), so this is no empty line.
  ['a line of a CR alone', 'A: b\n\rC: d\n\nbody', 11, 12],
] as const) {
  test(`the header section ends before the empty line: ${what}`, () => {
    const bytes = Buffer.from(message);
    assert.equal(headerSize(bytes), size);
    assert.equal(parseHeaders(bytes).bodyAt, bodyAt);
  });
}

for (const [message, lineEnd] of [
  ['A: b\nC: d\r\n', '\n'],
  ['A: b\r\nC: d\n', '\r\n'],
  ['\nbody', '\n'],
  ['\r\nbody', '\r\n'],
  ['no line end', '\n'],
  ['a\rb\n', '\n'],
  ['', '\n'],
] as const) {
  test(`the line end of ${JSON.stringify(message)} is that of its first line`, () => {
    assert.equal(lineEndOf(Buffer.from(message)), lineEnd);
    const edited = editHeaders(Buffer.from(message), [], ['X: y']);
    assert.equal(edited.toString(), `X: y${lineEnd}${message}`);
  });
}

test('fieldsNamed finds the fields of the header section that parseHeaders finds', () => {
  const message = Buffer.from('To: a\n b\ntop: c\nTO : d\n\nTo: body\n');
  const named = parseHeaders(message).fields.filter(({ name }) => name === 'to');
  assert.equal(named.length, 2);
  assert.deepEqual([...fieldsNamed(message, 'to')], named);
});
