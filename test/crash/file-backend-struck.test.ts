import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { everyStep, type Fault } from '../support/every-step.ts';
import { timeLimit } from '../support/figures.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, type Program } from '../support/program.ts';
import { signedPost } from '../support/signed-post.ts';

// A proxy that delivers into files is struck at each of its steps; then one that works gets the same post.

const key = 'a secret key';
const recipients = ['r@example.org'];
const bytes = `Subject: whole\n\n${'a line of text\n'.repeat(5000)}`;
const faults: [Fault, number, string][] = [
  ['KILL', 7, 'law 3, law 7: a proxy killed at any step of delivering into a file leaves it whole'],
  [
    'EIO',
    7,
    'law 3, law 7: a disk that fails once at any step of delivering leaves the file whole',
  ],
  [
    'ENOSPC',
    7,
    'law 3, law 7: a disk that is full from any step of delivering on leaves the file whole',
  ],
];

for (const [fault, stride, title] of faults) {
  void test(title, { ...needs('cc'), timeout: timeLimit(290_000) }, async (t) => {
    const seen = { unanswered: 0, leftovers: 0 };
    await everyStep(t, { fault, stride }, async ({ number, folder, strikes }) => {
      mkdirSync(folder);
      const id = number.toString(16).padStart(32, '0');
      const post = { key, id, recipients, bytes };
      const first = proxy(t, folder, strikes(folder));
      const address = await listening(first);
      const answer = address ? await signedPost(address, post).catch(() => undefined) : undefined;
      await first.stop();
      const note = `${fault} at step ${number}: ${first.stderr}`;
      if (answer?.status !== 200) seen.unanswered += 1;
      else assert.equal(wholeFiles(folder, note), 1, note);
      assert.ok(wholeFiles(folder, note) <= 1, note);

      const next = proxy(t, folder);
      const again = await signedPost((await listening(next)) ?? '', post);
      assert.equal(again.status, 200, `${note}then ${String(again.body)}`);
      assert.equal((await next.stop()).code, 0, note);
      assert.equal(wholeFiles(folder, note), 1, note);
      seen.leftovers += namesIn(folder).filter((name) => name.endsWith('.part')).length;
    });
    t.diagnostic(JSON.stringify(seen));
    assert.ok(seen.unanswered > 3, JSON.stringify(seen));
  });
}

function proxy(t: TestContext, folder: string, env: NodeJS.ProcessEnv = {}): Program {
  const files = ['--dir', join(folder, 'delivered'), '--ledger', join(folder, 'ledger.db')];
  return appengineMailer(t, ['proxy', '--listen', '127.0.0.1:0', ...files], {
    cwd: folder,
    env: { GMAIL_SECRET_KEY: key, ...env },
  });
}

/** HOST:PORT, or undefined when it ended before it listened. */
async function listening(program: Program): Promise<string | undefined> {
  const said = await program.says(/proxy listens on (\S+),/).catch(() => undefined);
  return said?.[1];
}

/** How many deliveries there are: each has the message's bytes, and its envelope beside it. */
function wholeFiles(folder: string, note: string): number {
  const messages = namesIn(folder).filter((name) => name.endsWith('.eml'));
  for (const name of messages) {
    const path = join(folder, 'delivered', name);
    assert.equal(readFileSync(path, 'utf8'), bytes, note);
    const envelope = JSON.parse(readFileSync(path.replace(/eml$/, 'json'), 'utf8')) as object;
    assert.deepEqual((envelope as { recipients: string[] }).recipients, recipients, note);
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
