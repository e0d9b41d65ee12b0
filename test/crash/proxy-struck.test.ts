import assert from 'node:assert/strict';
import { join } from 'node:path';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { everyStep } from '../support/every-step.ts';
import { postOnce } from '../support/post-once.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import type { HttpAnswer } from '../support/signed-post.ts';

// A proxy is struck at each of its steps while it is posted a message; then one that works gets the same
// post, as drain would send it again. The relay counts: what it gets twice must be listed as unknown.

const titles = {
  KILL: 'law 6, law 7: proxy killed at any step loses nothing and doubles only what it lists as unknown',
  EIO: 'law 6: a proxy whose disk fails once at any step doubles only what it lists as unknown',
  ENOSPC:
    'law 6: a proxy whose disk is full from any step on doubles only what it lists as unknown',
};

for (const [fault, stride] of [['KILL', 9] as const, ['EIO', 9] as const, ['ENOSPC', 9] as const]) {
  everyStep({ title: titles[fault], fault, stride, atLeast: { unanswered: 6 } }, async (t) => {
    const smtp = await ScriptedSmtp.start(t, {
      RCPT: (line) => (line.includes('<bad') ? '550 5.1.1 nobody' : '250 2.1.5 Ok'),
    });
    const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
    const backend = ['--backend', 'smtp', ...relay, '--smtp-security', 'none'];

    return async ({ number, folder, strikes, note }) => {
      const recipient = `step-${number}@example.org`;
      const post = {
        key: 'a secret key',
        id: number.toString(16).padStart(32, '0'),
        recipients: [recipient, 'bad@example.org'],
        bytes: `Subject: ${number}\n\nx\n`,
      };
      const request = { folder, args: [...backend, '--ledger', join(folder, 'ledger.db')], post };
      const struck = await postOnce(t, { ...request, env: strikes });
      note(struck.stderr);
      const isAnswered = struck.answer?.status === 200;
      if (isAnswered) assert.deepEqual(statuses(struck.answer), ['2.0.0', '5.1.1']);

      // Also after an answer, which may have been lost on its way.
      const next = await postOnce(t, request);
      note(next.stderr);
      assert.equal(next.answer?.status, 200, String(next.answer?.body));
      assert.deepEqual(statuses(next.answer), ['2.0.0', '5.1.1']);
      assert.equal(next.code, 0);
      const wanted = `RCPT TO:<${recipient}>`;
      const taken = smtp.messages.filter(({ envelope }) => envelope[1] === wanted).length;
      assert.ok(taken >= 1, 'lost');
      // Every answer is in the ledger, unless that could not be written.
      const mayDouble = fault === 'KILL' && isAnswered ? 0 : unknown(folder, recipient);
      const doubled = taken - 1;
      assert.ok(doubled <= mayDouble, `taken ${taken} times`);
      return { unanswered: !isAnswered, doubled };
    };
  });
}

function statuses(answer: HttpAnswer | undefined): string[] {
  const { verdicts } = JSON.parse(String(answer?.body)) as { verdicts: { status: string }[] };
  return verdicts.map(({ status }) => status);
}

/** How often the ledger lists the recipient as unknown. */
function unknown(folder: string, recipient: string): number {
  const ledger = new Database(join(folder, 'ledger.db'), { readonly: true });
  try {
    const count = ledger.prepare<[string], number>(
      'SELECT count(*) FROM unknown WHERE address = ?',
    );
    return count.pluck().get(recipient) ?? 0;
  } finally {
    ledger.close();
  }
}
