import assert from 'node:assert/strict';
import { everyStep } from '../support/every-step.ts';
import { handIn } from '../support/hand-in.ts';
import { drainOnce } from '../support/queues.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

// A drain is struck at each of its steps, and another empties the spool after it. The proxy lives on, and
// its relay counts what it gets: a message that comes twice was sent twice.

const titles = {
  KILL: 'law 6, law 7, law 8: drain killed at any step loses and doubles nothing',
  EIO: 'law 6, law 7, law 8: a drain whose disk fails once at any step loses and doubles nothing',
  ENOSPC:
    'law 6, law 7, law 8: a drain whose disk is full from any step on loses and doubles nothing',
};

for (const [fault, stride] of [
  ['KILL', 13] as const,
  ['EIO', 14] as const,
  ['ENOSPC', 14] as const,
]) {
  everyStep({ title: titles[fault], fault, stride, atLeast: { interrupted: 6 } }, async (t) => {
    const road = new Road(t);
    const smtp = await ScriptedSmtp.start(t, {
      RCPT: (line) => (line.includes('<bad') ? '550 5.1.1 nobody' : '250 2.1.5 Ok'),
    });
    const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
    await road.proxy(['--backend', 'smtp', ...relay, '--smtp-security', 'none']);

    return async ({ number, folder, strikes, note }) => {
      const name = `step-${number}`;
      handIn(folder, [
        {
          recipients: [`${name}-a@example.org`, `bad-${name}@example.org`],
          bytes: `Subject: ${name}\n\nx\n`,
        },
        {
          recipients: [`${name}-b@example.org`],
          bytes: `Subject: ${name}\n\n${'line\n'.repeat(300_000)}`,
        },
      ]);
      const struck = await drainOnce(road, folder, strikes);
      note(struck.stderr);
      const next = await drainOnce(road, folder);
      note(next.stderr);
      assert.equal(next.code, 0);
      assert.deepEqual(
        readSpool(folder).map(({ state, recipients }) => [
          state,
          ...recipients.map((each) => each.state),
        ]),
        [
          ['failed', 'sent', 'failed'],
          ['sent', 'sent'],
        ],
      );
      for (const letter of ['a', 'b']) {
        const wanted = `RCPT TO:<${name}-${letter}@example.org>`;
        const taken = smtp.messages.filter(({ envelope }) => envelope[1] === wanted);
        assert.equal(taken.length, 1, wanted);
      }
      return { interrupted: struck.code !== 0 };
    };
  });
}
