import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { decodeFrame, encodeFrame, FrameError } from '../../src/wire/frame.ts';

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

test('a frame tells of the queue of its host; what is not known of a frame is passed over', () => {
  const envelope = { sender: '', recipients: [] };
  for (const queue of [
    { length: 0, oldestSeconds: undefined },
    { length: 7, oldestSeconds: 61 },
  ]) {
    assert.deepEqual(decodeFrame(encodeFrame(envelope, { queue })).queue, queue);
  }
  assert.equal(decodeFrame(encodeFrame(envelope)).queue, undefined);
  const later = '{"sender":"","recipients":[],"queue":{"length":1,"new":{}},"newer":[1]}\n';
  assert.deepEqual(decodeFrame(Buffer.from(later)).queue, { length: 1, oldestSeconds: undefined });
  for (const wrong of ['7', 'null', '{}', '{"length":-1}', '{"length":1,"oldest_s":"1"}']) {
    const line = `{"sender":"","recipients":[],"queue":${wrong}}\n`;
    assert.throws(() => decodeFrame(Buffer.from(line)), /of "queue" is not a whole number/, wrong);
  }
});
