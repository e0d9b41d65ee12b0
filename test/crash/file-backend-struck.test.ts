import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { everyStep } from '../support/every-step.ts';
import { postOnce } from '../support/post-once.ts';

// A proxy that delivers into files is struck at each of its steps; then one that works gets the same post.

const recipients = ['r@example.org'];
const bytes = `Subject: whole\n\n${'a line of text\n'.repeat(5000)}`;
const titles = {
  KILL: 'law 3, law 7: a proxy killed at any step of delivering into a file leaves it whole',
  EIO: 'law 3, law 7: a disk that fails once at any step of delivering leaves the file whole',
  ENOSPC: 'law 3, law 7: a disk that is full from any step of delivering on leaves the file whole',
};

for (const fault of ['KILL', 'EIO', 'ENOSPC'] as const) {
  const atLeast = { unanswered: 4 };
  everyStep({ title: titles[fault], fault, stride: 11, atLeast }, (t) => {
    return async ({ number, folder, strikes, note }) => {
      const id = number.toString(16).padStart(32, '0');
      const args = ['--dir', join(folder, 'delivered'), '--ledger', join(folder, 'ledger.db')];
      const request = { folder, args, post: { key: 'a secret key', id, recipients, bytes } };
      const struck = await postOnce(t, { ...request, env: strikes });
      note(struck.stderr);
      const isAnswered = struck.answer?.status === 200;
      if (isAnswered) assert.equal(wholeFiles(folder), 1);
      else assert.ok(wholeFiles(folder) <= 1);

      const next = await postOnce(t, request);
      note(next.stderr);
      assert.equal(next.answer?.status, 200, String(next.answer?.body));
      assert.equal(next.code, 0);
      assert.equal(wholeFiles(folder), 1);
      const leftovers = namesIn(folder).filter((name) => name.endsWith('.part')).length;
      return { unanswered: !isAnswered, leftovers };
    };
  });
}

/** How many deliveries there are: each has the message's bytes, and its envelope beside it. */
function wholeFiles(folder: string): number {
  const messages = namesIn(folder).filter((name) => name.endsWith('.eml'));
  for (const name of messages) {
    const path = join(folder, 'delivered', name);
    assert.equal(readFileSync(path, 'utf8'), bytes);
    const envelope = JSON.parse(readFileSync(path.replace(/eml$/, 'json'), 'utf8')) as object;
    assert.deepEqual((envelope as { recipients: string[] }).recipients, recipients);
  }
  return messages.length;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(join(folder, 'delivered'));
  } catch {
    return []; // It was not made yet.
  }
}
