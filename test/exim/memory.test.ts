import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../src/limits.ts';
import { Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';

// Node gets a small heap, whatever the machine has. A message's bytes are outside of it, so that only
// what is kept for each line can fill it.
const env = { NODE_OPTIONS: '--max-old-space-size=32' };

/** Shortest lines, which are the most in a message of the largest size. */
const lines: [what: string, stuffed: string, line: string][] = [
  ['dots, doubled by the one who hands over', '..\n', '.\n'],
  ['empty lines', '\n', '\n'],
];
for (const [what, stuffed, line] of lines) {
  test(`law 1, law 3: 100 MiB of ${what} are taken with a small heap`, async (t) => {
    const road = new Road(t);
    const message = Buffer.alloc(limits.messageBytes, line);
    const input = Buffer.concat([
      Buffer.from('MAIL FROM:<>\nRCPT TO:<one@x.example>\nDATA\n'),
      Buffer.alloc((message.length / line.length) * stuffed.length, stuffed),
      Buffer.from('.\n'),
    ]);
    const { code, stdout } = await road.pipe('1abc', input, env);
    assert.match(`${code} ${stdout.toString()}`, /^0 queued /);
    assert.ok(stored(road.spool)[0]?.bytes?.equals(message));
  });
}
