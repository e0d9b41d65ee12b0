import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { everyStep, type Fault } from '../support/every-step.ts';
import { timeLimit } from '../support/figures.ts';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer } from '../support/program.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

// A drain is struck at each of its steps, and another empties the spool after it. The proxy lives on, and
// its relay counts what it gets: a message that comes twice was sent twice.

const faults: [Fault, number, string][] = [
  ['KILL', 9, 'law 6, law 7, law 8: drain killed at any step loses and doubles nothing'],
  [
    'EIO',
    11,
    'law 6, law 7, law 8: a drain whose disk fails once at any step loses and doubles nothing',
  ],
  [
    'ENOSPC',
    11,
    'law 6, law 7, law 8: a drain whose disk is full from any step on loses and doubles nothing',
  ],
];

for (const [fault, stride, title] of faults) {
  void test(title, { ...needs('cc'), timeout: timeLimit(290_000) }, async (t) => {
    const { road, smtp } = await roadToRelay(t);
    let interrupted = 0;
    await everyStep(t, { fault, stride }, async ({ number, folder, strikes }) => {
      mkdirSync(folder);
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
      const struck = await drainOnce(t, road, folder, strikes(folder));
      const note = `${fault} at step ${number}: ${struck.code ?? struck.signal}\n${struck.stderr}`;
      if (struck.code !== 0) interrupted += 1;

      const next = await drainOnce(t, road, folder);
      assert.equal(next.code, 0, `${note}then:\n${next.stderr}`);
      const found = readSpool(folder).map(({ state, recipients }) => [
        state,
        ...recipients.map((each) => each.state),
      ]);
      assert.deepEqual(
        found,
        [
          ['failed', 'sent', 'failed'],
          ['sent', 'sent'],
        ],
        note,
      );
      for (const letter of ['a', 'b']) {
        const wanted = `RCPT TO:<${name}-${letter}@example.org>`;
        const taken = smtp.messages.filter(({ envelope }) => envelope[1] === wanted);
        assert.equal(taken.length, 1, `${note}${wanted}`);
      }
    });
    assert.ok(interrupted > 5, `only ${interrupted} runs were struck`);
  });
}

/** A proxy whose relay refuses recipients that begin with `bad`. */
async function roadToRelay(t: TestContext): Promise<{ road: Road; smtp: ScriptedSmtp }> {
  const road = new Road(t);
  const smtp = await ScriptedSmtp.start(t, {
    RCPT: (line) => (line.includes('<bad') ? '550 5.1.1 nobody' : '250 2.1.5 Ok'),
  });
  const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
  await road.proxy(['--backend', 'smtp', ...relay, '--smtp-security', 'none']);
  return { road, smtp };
}

async function drainOnce(t: TestContext, road: Road, spool: string, env: NodeJS.ProcessEnv = {}) {
  const url = `http://${road.address}/`;
  return appengineMailer(t, ['drain', '--once', '--spool', spool], {
    env: { GMAIL_PROXY_URL: url, GMAIL_SECRET_KEY: road.key, ...env },
    input: '',
  }).ended;
}
