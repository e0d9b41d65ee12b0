import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { SenderReports } from '../../src/drain/reports/sender-reports.ts';
import { drainJournal } from '../../src/drain/drain-journal.ts';
import { limits } from '../../src/limits.ts';
import { readBody } from '../../src/spool/body.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedSmtp, type SmtpScript } from '../support/scripted-smtp.ts';
import { until } from '../support/until.ts';

const NOW = 1_800_000_000_000;
const fromList = 'List-Id: <a.b>\n\nx\n';

interface Owed {
  sender?: string;
  message?: string;
  recipient?: string;
}

let messages = 0;

/** Stores a message whose sender is owed a report of its failure, or a warning of its delay. */
function owe(
  spool: Spool,
  kind: 'failure' | 'delay',
  { sender = 's@host.example', message, recipient = 'r@x.example' }: Owed = {},
): number {
  messages += 1;
  const recipients = [recipient];
  enqueue(spool, handOver({ eximId: `owed-${messages}`, sender, message, recipients }), NOW);
  const seq = spool.db.prepare<[], number>('SELECT max(seq) FROM message').pluck().get() ?? 0;
  verdict(spool, seq, 0, kind);
  return seq;
}

function verdict(spool: Spool, seq: number, position: number, kind: 'failure' | 'delay'): void {
  const [state, status] = kind === 'failure' ? ['failed', '5.1.1'] : ['pending', '4.2.2'];
  spool
    .sql(
      `UPDATE recipient SET state = ?, status = ?, reason = 'so' WHERE message = ? AND position = ?`,
    )
    .run(state, status, seq, position);
  if (kind === 'delay') {
    spool
      .sql(
        `INSERT INTO notice (message, kind, sender) SELECT seq, 'delay', sender FROM message WHERE seq = ?`,
      )
      .run(seq);
  }
}

function owed(spool: Spool): number {
  return spool.db.prepare<[], number>('SELECT count(*) FROM notice').pluck().get() ?? NaN;
}

interface Teller {
  smtp: ScriptedSmtp;
  /** Events of the journal. */
  said: string[];
  reports: SenderReports;
  /** Does turns until nothing is due; returns all that was told, as text. */
  tell: (now?: number) => Promise<string>;
}

async function teller(
  t: TestContext,
  spool: Spool,
  perHour = 20,
  script: SmtpScript = {},
): Promise<Teller> {
  const smtp = await ScriptedSmtp.start(t, script);
  const server = { host: '127.0.0.1', port: smtp.port };
  const names = { host: 'mx.host.example', mail: 'host.example', unusable: undefined };
  const events = new EventEmitter();
  const said: string[] = [];
  const journal = drainJournal(({ fields }) => said.push(String(fields['MAIL_EVENT'])));
  const { signal } = new AbortController();
  const reports = new SenderReports(
    { spool, journal, reports: { server, perHour, names } },
    signal,
    () => events.emit('done'),
  );
  const tell = async (now = NOW) => {
    for (;;) {
      const handed = once(events, 'done');
      reports.turn(now, { begin: true });
      if (reports.busy) await handed;
      else if (reports.wantedInMs(now) > 0) break;
    }
    return smtp.messages.map(({ bytes }) => bytes.toString()).join('');
  };
  return { smtp, said, reports, tell };
}

// OpenSMTPD #373: one corrupt message stopped all.
for (const kind of ['failure', 'delay'] as const) {
  test(`a ${kind} of a message on a damaged page is told without its text, and stops nothing (law 5)`, async (t) => {
    const folder = scratch(t);
    const sound = new Spool(folder, 'drain');
    const seq = owe(sound, kind, { message: `Subject: damaged\n\n${'Q'.repeat(50_000)}` });
    owe(sound, kind, { sender: 'other@host.example' });
    sound.close();

    // A page of the text loses what it holds, its link to the next one too.
    const bytes = readFileSync(sound.db.name);
    const inPage = bytes.indexOf('Q'.repeat(4092));
    assert.ok(inPage > 0);
    writeFileSync(sound.db.name, bytes.fill(0, inPage - 4, inPage + 4092));
    const spool = new Spool(folder, 'drain');
    t.after(() => spool.close());
    assert.throws(() => [...readBody(spool, seq, 50_018)], { code: 'SQLITE_CORRUPT' });

    const { smtp, reports, tell } = await teller(t, spool);
    await tell();
    assert.deepEqual(smtp.said('RCPT'), [
      'RCPT TO:<s@host.example>',
      'RCPT TO:<other@host.example>',
    ]);
    assert.doesNotMatch(smtp.messages[0]?.bytes.toString() ?? '', /Subject: damaged|attached/);
    assert.equal(owed(spool), 0);
    assert.equal(reports.busy, false); // A stopping drain need not wait.
  });
}

test('a disk that cannot be read, which undoes a transaction, keeps nobody else from being told (law 5)', async (t) => {
  const spool = freshSpool(t);
  owe(spool, 'delay', { message: fromList });
  const unreadable = owe(spool, 'delay', { sender: 'unreadable@host.example' });
  owe(spool, 'failure', { sender: 'other@host.example' });
  const sql = spool.sql.bind(spool);
  spool.sql = ((text: string) => {
    const statement = sql(text);
    if (!text.includes('FROM body')) return statement;
    const get = (seq: number, part: number) => {
      if (seq !== unreadable) return statement.get(seq, part);
      // As SQLite does with SQLITE_IOERR.
      if (spool.db.inTransaction) spool.db.exec('ROLLBACK');
      throw new Database.SqliteError('disk I/O error', 'SQLITE_IOERR_READ');
    };
    return { get };
  }) as typeof spool.sql;

  const { smtp, tell } = await teller(t, spool);
  await tell();
  assert.deepEqual(smtp.said('RCPT'), [
    'RCPT TO:<unreadable@host.example>',
    'RCPT TO:<other@host.example>',
  ]);
  assert.equal(owed(spool), 0);
});

test('a turn looks at no more than limits.reportsLook of what is due, and wants the next at once', async (t) => {
  const spool = freshSpool(t);
  spool.transaction(() => {
    for (let each = 0; each < 2 * limits.reportsLook + 1; each += 1) {
      owe(spool, 'delay', { message: fromList });
    }
  });
  const { reports } = await teller(t, spool);
  const turn = () => {
    reports.turn(NOW, { begin: true });
    return [owed(spool), reports.wantedInMs(NOW) <= 0];
  };
  assert.deepEqual(turn(), [limits.reportsLook + 1, true]);
  assert.deepEqual(turn(), [1, true]);
  assert.deepEqual(turn(), [0, false]);
});

test('what a turn does to reports is one transaction', async (t) => {
  const spool = freshSpool(t);
  owe(spool, 'delay', { message: fromList });
  const last = owe(spool, 'delay', { message: fromList });
  spool.db.exec(`CREATE TRIGGER broken BEFORE DELETE ON notice WHEN OLD.message = ${last} BEGIN
    SELECT raise(ABORT, 'the disk takes no more'); END`);
  const { reports } = await teller(t, spool);
  assert.throws(() => reports.turn(NOW, { begin: true }), /the disk takes no more/);
  assert.equal(owed(spool), 2);
});

test('a failure beyond --notices-per-hour takes no unwanted warning of its message into the summary (law 9)', async (t) => {
  const spool = freshSpool(t);
  const recipients = ['failed@x.example', 'delayed@x.example'];
  enqueue(spool, handOver({ eximId: 'both', message: fromList, recipients }), NOW);
  verdict(spool, 1, 0, 'failure');
  verdict(spool, 1, 1, 'delay');
  spool.db.exec(`UPDATE notice SET due_at = ${NOW + 1} WHERE kind = 'delay';
    INSERT INTO told (sender, at) SELECT sender, ${NOW} FROM message`);
  const { smtp, tell } = await teller(t, spool, 1);
  await tell();
  assert.equal(smtp.messages.length, 0);
  const told = await tell(NOW + limits.reportsHourMs + 1);
  assert.match(told, /failed@x\.example/);
  assert.doesNotMatch(told, /delayed@x\.example/);
});

test('a wanted warning beyond --notices-per-hour is in the summary', async (t) => {
  const spool = freshSpool(t);
  owe(spool, 'failure', { recipient: 'first@x.example' });
  owe(spool, 'delay', { recipient: 'delayed@x.example' });
  owe(spool, 'failure', { recipient: 'failed@x.example' });
  const { smtp, tell } = await teller(t, spool, 1);
  await tell();
  assert.equal(smtp.messages.length, 1);
  await tell(NOW + limits.reportsHourMs + 1);
  assert.equal(smtp.messages.length, 2);
  const summary = smtp.messages[1]?.bytes.toString() ?? '';
  assert.match(
    summary,
    /^These messages could not be delivered[^]*failed@x\.example[^]*^These messages are delayed[^]*delayed@x\.example/m,
  );
});

test('while a drain stops nothing is begun, and nothing wakes it', async (t) => {
  const spool = freshSpool(t);
  owe(spool, 'failure');
  const { smtp, reports } = await teller(t, spool);
  reports.turn(NOW, { begin: false });
  assert.equal(reports.busy, false);
  assert.equal(reports.wantedInMs(NOW), Infinity);
  assert.deepEqual(smtp.lines, []);
});

const oneHangs = (line: string) => (line.includes('<s@') ? 'hang' : '250 ok');

test('a backlog of one sender waits for its report in flight, and holds up no other sender (law 9)', async (t) => {
  const spool = freshSpool(t);
  spool.transaction(() => {
    for (let each = 0; each < 2 * limits.reportsLook; each += 1) owe(spool, 'failure');
  });
  owe(spool, 'failure', { sender: 'other@host.example' });
  const { smtp, said, reports } = await teller(t, spool, 20, { RCPT: oneHangs });
  const rest = () => {
    let turns = 0;
    do {
      turns += 1;
      assert.ok(turns < 10, 'what only waits wakes nobody');
      reports.turn(NOW, { begin: true });
    } while (reports.wantedInMs(NOW) <= 0);
  };
  rest();
  await until(
    () => smtp.messages.length === 1,
    () => smtp.lines.join('; '),
  );
  await until(
    () => {
      rest();
      return said.includes('notice_sent');
    },
    () => said.join('; '),
  );
  assert.equal(smtp.said('RCPT TO:<s@host.example>').length, 1);
  assert.equal(reports.submitting, true);
  const uncollected = spool.db.prepare('SELECT count(*) FROM notice WHERE collected = 0').pluck();
  assert.equal(uncollected.get(), 20); // One in flight, and what else may be told within the hour.
});

test('a mail server that takes few connections is not called away while it has reports of ours', async (t) => {
  const spool = freshSpool(t);
  const senders = Array.from({ length: 3 }, (_, each) => `s${each}@host.example`);
  for (const sender of senders) owe(spool, 'failure', { sender });
  let connections = 0;
  const greeting = () => {
    connections += 1;
    return connections === 1 ? '220 hello' : '421 too many connections';
  };
  const { said, reports } = await teller(t, spool, 20, { greeting, message: 'hang' });
  await until(
    () => {
      reports.turn(NOW, { begin: true });
      return reports.wantedInMs(NOW) > 2000;
    },
    () => String(reports.wantedInMs(NOW)),
  );
  assert.equal(reports.submitting, true);
  assert.deepEqual(said, []);
});

test('at most limits.reportsAtOnce reports are handed over at once, and an outage that all meet is one', async (t) => {
  const spool = freshSpool(t);
  const many = 2 * limits.reportsAtOnce;
  for (let each = 0; each < many; each += 1) {
    owe(spool, 'failure', { sender: `s${each}@host.example` });
  }
  const { smtp, said, reports } = await teller(t, spool, 20, { greeting: 'hang' });
  reports.turn(NOW, { begin: true });
  await until(
    () => smtp.sockets.length === limits.reportsAtOnce,
    () => String(smtp.sockets.length),
  );
  reports.turn(NOW, { begin: true });
  assert.equal(reports.wantedInMs(NOW), Infinity);
  for (const socket of smtp.sockets) socket.destroy();
  await until(
    () => !reports.submitting,
    () => 'the connections were cut',
  );
  reports.turn(NOW, { begin: true });
  assert.deepEqual(said, ['notices_wait']);
  const waitMs = reports.wantedInMs(NOW);
  assert.ok(waitMs > 0 && waitMs <= limits.reportFirstMs, String(waitMs));
  assert.equal(owed(spool), many);
});

test('reports that may have been taken count for --notices-per-hour (law 9)', async (t) => {
  const spool = freshSpool(t);
  spool.transaction(() => {
    for (let each = 0; each < 200; each += 1) {
      owe(spool, 'failure', { recipient: `r${each}@x.example` });
    }
  });
  const { smtp, tell } = await teller(t, spool, 20, { message: 'lost' });
  for (let minutes = 0; minutes < 60; minutes += 5) await tell(NOW + minutes * 60_000);
  assert.equal(smtp.messages.length, 20);
});

test('an address that no mail server is asked for says nothing of one that is away', async (t) => {
  const spool = freshSpool(t);
  let aheadMs = 0;
  const monotonic = performance.now.bind(performance);
  t.mock.method(performance, 'now', () => monotonic() + aheadMs);
  const { said, reports, tell } = await teller(t, spool, 20, { greeting: '421 not now' });
  owe(spool, 'failure');
  await tell();
  owe(spool, 'failure', { sender: 'bad@-h-.example' });
  aheadMs += limits.reportFirstMs;
  await tell();
  assert.deepEqual(said, ['notices_wait', 'notice_refused']);
  assert.ok(reports.wantedInMs(NOW) > limits.reportFirstMs, 'the server is left alone for longer');
});
