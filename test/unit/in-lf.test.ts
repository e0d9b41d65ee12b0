import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { inLf } from '../../src/proxy/backends/in-lf.ts';

test('CR LF and CR alone become LF, also where a slice ends', async () => {
  assert.equal(await inLf('a\r\nb\rc\n\r\r\nd'), 'a\nb\nc\n\n\nd');
  for (const before of [65_534, 65_535, 65_536]) {
    const start = 'x'.repeat(before);
    assert.equal(await inLf(`${start}\r\n\r\ny\r`), `${start}\n\ny\n`);
  }
  assert.equal(await inLf(''), '');
});

test('others have their turn while millions of CRs are replaced', async () => {
  const state = { isOver: false };
  let turns = 0;
  const replaced = inLf('\r'.repeat(2_000_000)).then((text) => {
    state.isOver = true;
    return text;
  });
  for (; !state.isOver; turns += 1) await setImmediate();
  assert.equal(await replaced, '\n'.repeat(2_000_000));
  assert.ok(turns > 10, `${turns}`);
});
