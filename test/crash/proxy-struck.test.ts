import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { everyStep, type Fault } from '../support/every-step.ts';
import { timeLimit } from '../support/figures.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, type Program } from '../support/program.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { signedPost, type HttpAnswer } from '../support/signed-post.ts';

// A proxy is struck at each of its steps while it is posted a message; then one that works gets the same
// post, as drain would send it again. The relay counts: what it gets twice must be listed as unknown.

const key = 'a secret key';
const faults: [Fault, number, string][] = [
  [
    'KILL',
    5,
    'law 6, law 7: proxy killed at any step loses nothing and doubles only what it lists as unknown',
  ],
  [
    'EIO',
    9,
    'law 6: a proxy whose disk fails once at any step doubles only what it lists as unknown',
  ],
  [
    'ENOSPC',
    9,
    'law 6: a proxy whose disk is full from any step on doubles only what it lists as unknown',
  ],
];

for (const [fault, stride, title] of faults) {
  void test(title, { ...needs('cc'), timeout: timeLimit(290_000) }, async (t) => {
    const smtp = await ScriptedSmtp.start(t, {
      RCPT: (line) => (line.includes('<bad') ? '550 5.1.1 nobody' : '250 2.1.5 Ok'),
    });
    const seen = { unanswered: 0, doubled: 0 };
    await everyStep(t, { fault, stride }, async ({ number, folder, strikes }) => {
      mkdirSync(folder);
      const recipient = `step-${number}@example.org`;
      const post = {
        key,
        id: number.toString(16).padStart(32, '0'),
        recipients: [recipient, 'bad@example.org'],
        bytes: `Subject: ${number}\n\nx\n`,
      };
      const first = proxy(t, smtp, folder, strikes(folder));
      const address = await listening(first);
      const answer = address ? await signedPost(address, post).catch(() => undefined) : undefined;
      const note = `${fault} at step ${number}: ${first.stderr}`;
      if (answer?.status === 200) assert.deepEqual(statuses(answer), ['2.0.0', '5.1.1'], note);
      else seen.unanswered += 1;
      await first.stop();

      // Also after an answer, which may have been lost on its way.
      const next = proxy(t, smtp, folder);
      const nextAddress = await listening(next);
      assert.ok(nextAddress, `${note}then ${next.stderr}`);
      const again = await signedPost(nextAddress, post);
      assert.equal(again.status, 200, `${note}then ${String(again.body)}`);
      assert.deepEqual(statuses(again), ['2.0.0', '5.1.1'], note);
      const { code: end } = await next.stop();
      assert.equal(end, 0, note);
      const wanted = `RCPT TO:<${recipient}>`;
      const taken = smtp.messages.filter(({ envelope }) => envelope[1] === wanted).length;
      assert.ok(taken >= 1, `${note}lost`);
      // What was answered is in the ledger, unless that could not be written.
      const isKnown = fault === 'KILL' && answer?.status === 200;
      const doubled = isKnown ? 0 : unknown(folder, recipient);
      assert.ok(taken - 1 <= doubled, `${note}taken ${taken} times`);
      seen.doubled += taken - 1;
    });
    t.diagnostic(JSON.stringify(seen));
    assert.ok(seen.unanswered > 5, JSON.stringify(seen));
  });
}

function proxy(
  t: TestContext,
  smtp: ScriptedSmtp,
  folder: string,
  env: NodeJS.ProcessEnv = {},
): Program {
  const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
  const ledger = ['--ledger', join(folder, 'ledger.db'), '--listen', '127.0.0.1:0'];
  return appengineMailer(
    t,
    ['proxy', '--backend', 'smtp', ...relay, '--smtp-security', 'none', ...ledger],
    { cwd: folder, env: { GMAIL_SECRET_KEY: key, ...env } },
  );
}

/** HOST:PORT, or undefined when it ended before it listened. */
async function listening(program: Program): Promise<string | undefined> {
  const said = await program.says(/proxy listens on (\S+),/).catch(() => undefined);
  return said?.[1];
}

function statuses({ body }: HttpAnswer): string[] {
  const { verdicts } = JSON.parse(body.toString()) as { verdicts: { status: string }[] };
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
