import assert from 'node:assert/strict';
import { cpSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { LONG } from '../support/figures.ts';
import { everyStep, type Step } from '../support/every-step.ts';
import { Intake, type LmtpMail } from '../support/lmtp.ts';
import { readSpool } from '../support/read-spool.ts';
import { scratch } from '../support/scratch.ts';

// A fault strikes the LMTP server at its first step, its second, and so on until it is through; fault-at.c says what a
// step is. Afterwards the mail server hands over again what it was not told to be stored, and so does the test: to the
// same LMTP server where that is still there.

const bytes = Buffer.concat([
  Buffer.from('Subject: x\n\n.\n..dots\n\0\r \xff\n', 'latin1'),
  Buffer.alloc(6000, 'l'), // More than a page of the database.
  Buffer.from('\n'),
]);
const recipients = ['a@example.org', 'b@example.org'];
/** They come at the same time: a fault of the commit is one of all. */
const mails = ['1new-000000-AA', '1new-000000-AB', '1new-000000-AC'].map((eximId) => ({
  sender: 'sender@example.com',
  recipients,
  message: bytes,
  eximId,
}));
const older = { eximId: '1old-000000-AB', message: 'Subject: older\n\nx\n' };

const atLeast = { acknowledged: 1, 'already queued': 1 };

everyStep(
  {
    title:
      'law 1, law 2, law 7: the LMTP server is killed at any step of making a spool and storing three messages in it',
    fault: 'KILL',
    stride: 19,
    // Few of its steps are between the commit and the answer: the short form of the next test strikes there.
    atLeast: LONG ? atLeast : { acknowledged: 1 },
  },
  (t) => handOverTwice(t, []),
);

everyStep(
  {
    title:
      'law 1, law 2, law 7: the LMTP server is killed at any step of storing three messages in a spool that has one',
    fault: 'KILL',
    stride: 8,
    // The only step between the commit and the answers was the 59th: all three messages are in one commit.
    closely: [50, 70],
    atLeast,
  },
  async (t) => handOverTwice(t, [older.eximId], await spoolWithOlder(t)),
);

for (const fault of ['EIO', 'ENOSPC'] as const) {
  const title = `law 1, law 2, law 7: ${fault} at any step of the LMTP server leaves no half of a message, and is 4xx`;
  everyStep({ title, fault, stride: 9 }, async (t) =>
    handOverTwice(t, [older.eximId], await spoolWithOlder(t)),
  );
}

/** Hands over, which is struck, hands over again, and checks that the spool has each message once, whole. */
function handOverTwice(t: TestContext, before: readonly string[], template?: string) {
  const sockets = scratch(t); // A socket is no step.
  return async ({ folder: spool, strikes, number, note, fault }: Step) => {
    if (template !== undefined) cpSync(template, spool, { recursive: true });
    const folder = join(sockets, String(number));
    mkdirSync(folder);
    const struck = await Intake.start(t, { folder, spool, env: strikes });
    const first = await Promise.all(mails.map(async (mail) => attempt(struck, mail)));
    note(JSON.stringify(first));
    // After EIO the same server goes on. A disk that is full stays so; and a struck server may die while it ends.
    if (fault !== 'EIO') await struck.program.stop();
    const next = fault === 'EIO' ? struck : await Intake.start(t, { folder, spool });
    const again = await Promise.all(mails.map(async (mail) => attempt(next, mail)));
    note(JSON.stringify(again));
    const { code, stderr } = await next.program.stop();
    note(stderr);
    assert.equal(code, 0);

    const found = readSpool(spool);
    const ids = found.map(({ eximId }) => eximId);
    assert.deepEqual(ids.toSorted(), [...before, ...mails.map(({ eximId }) => eximId)].toSorted());
    for (const message of found) {
      if (before.includes(message.eximId)) continue;
      assert.ok(message.bytes?.equals(bytes));
      assert.deepEqual(
        message.recipients,
        recipients.map((address) => ({ address, state: 'pending' })),
      );
    }
    assert.equal(statSync(join(spool, 'spool.db')).mode & 0o777, 0o660);
    const told = first.filter(({ isTaken }) => isTaken).length;
    const repeats = again.filter(({ text }) => text.includes('already queued')).length;
    assert.ok(
      again.every(({ isTaken }) => isTaken),
      'a message is not taken the second time',
    );
    assert.ok(repeats >= told, 'what was acknowledged is not there');
    return { acknowledged: told, 'already queued': repeats - told };
  };
}

/** What a server has said of a message, and whether it has taken it, as far as it could say that. */
async function attempt(
  server: Intake,
  mail: LmtpMail,
): Promise<{ isTaken: boolean; text: string }> {
  const text = await server.hear(mail).catch(String); // It may be gone by now.
  assert.doesNotMatch(text, /^5/m);
  return { isTaken: /^250 2\.0\.0 .*queued/m.test(text), text };
}

async function spoolWithOlder(t: TestContext): Promise<string> {
  const folder = scratch(t);
  const spool = join(folder, 'spool');
  mkdirSync(spool);
  const server = await Intake.start(t, { folder, spool });
  await server.take(older);
  assert.equal((await server.program.stop()).code, 0);
  return spool;
}
