import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { decodeFrame, FrameError } from '../../src/wire/frame.ts';

/** A frame whose line of JSON has so many octets. */
function frameOf(octets: number): Buffer {
  const line = '{"sender":"","recipients":[]}';
  return Buffer.from(`${line.padEnd(octets)}\nx\n`);
}

/** A frame whose line of JSON opens three objects and lists, and so many more. */
function opening(more: number, sender = ''): Buffer {
  const x = Array.from({ length: more }, () => []);
  return Buffer.from(`${JSON.stringify({ sender, recipients: [], x })}\n`);
}

test('a line of JSON may have as many octets as the limit says, and no more', () => {
  assert.equal(decodeFrame(frameOf(limits.envelopeBytes)).bytes.toString(), 'x\n');
  assert.throws(() => decodeFrame(frameOf(limits.envelopeBytes + 1)), FrameError);
});

test('a line of JSON opens at most 16 objects and lists; those in strings do not count', () => {
  assert.equal(decodeFrame(opening(13)).envelope.sender, '');
  assert.throws(() => decodeFrame(opening(14)), FrameError);
  for (const text of ['['.repeat(20), '"'.repeat(3) + '{'.repeat(20), `\\"${'['.repeat(20)}`]) {
    assert.equal(decodeFrame(opening(13, text)).envelope.sender, text);
    assert.throws(() => decodeFrame(opening(14, text)), FrameError, text);
  }
});
