import assert from 'node:assert/strict';
import test from 'node:test';
import { drainJournal } from '../../src/drain/drain-journal.ts';
import type { ReportedMail } from '../../src/drain/journal-mail.ts';

const mail = (kind: ReportedMail['kind']): ReportedMail => ({
  id: '0'.repeat(32),
  eximId: '1abc-0',
  kind,
  recipients: [{ address: `${kind}@x.example` }],
});

const toldKinds = [
  [['failure'], 'failure'],
  [['delay'], 'delay'],
  [['delay', 'failure', 'delay'], 'delay and failure'],
] as const;
for (const [kinds, named] of toldKinds) {
  const mails = kinds.map(mail);
  const lines: string[] = [];
  const journal = drainJournal(({ text }) => lines.push(text));

  test(`the journal says that a sender was told of ${kinds.join(', ')}`, () => {
    journal.noticeSent('me@x.example', mails);
    assert.ok(lines.at(-1)?.endsWith(`: ${named}`), lines.at(-1));
  });

  test(`the journal says what becomes of ${kinds.join(', ')} that nobody can be told of`, () => {
    journal.noticeRefused('me@x.example', mails, '550 no');
    const line = lines.at(-1) ?? '';
    const failed = 'what failed can be looked at for 5 d, and is deleted then';
    assert.equal(line.includes(failed), named.includes('failure'), line);
    assert.equal(line.includes('what is delayed is still tried'), named.includes('delay'), line);
  });
}
