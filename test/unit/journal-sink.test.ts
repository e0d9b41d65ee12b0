import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import {
  attemptEvent,
  drainEvents,
  drainJournal,
  type DrainJournal,
} from '../../src/drain/drain-journal.ts';
import type { JournalEvents } from '../../src/host/journal.ts';
import { encodeEntry, type Entry, type Sink } from '../../src/host/systemd/journal-sink.ts';
import {
  PREFIX,
  proxyEvents,
  proxyJournal,
  type ProxyJournal,
} from '../../src/proxy/proxy-journal.ts';
import { holds } from '../support/holds.ts';
import { inCheckout, run } from '../support/program.ts';

test('an entry is KEY=value lines, in the native protocol of the journal', () => {
  const entry: Entry = { text: 'sent', priority: 6, fields: { MAIL_ID: 'ab', MAIL_ATTEMPT: 2 } };
  assert.equal(
    encodeEntry(entry).toString(),
    'MESSAGE=sent\nPRIORITY=6\nSYSLOG_IDENTIFIER=appengine-mailer\nSYSLOG_FACILITY=2\nMAIL_ID=ab\nMAIL_ATTEMPT=2\n',
  );
});

test('a list is its field repeated, and what is undefined is left out', () => {
  const fields = { MAIL_RECIPIENT: ['a@b', 'c=d'], MAIL_DUE: undefined, MAIL_STATUS: [] };
  const lines = encodeEntry({ text: '', priority: 3, fields }).toString().split('\n').slice(4);
  assert.deepEqual(lines, ['MAIL_RECIPIENT=a@b', 'MAIL_RECIPIENT=c=d', '']);
});

test('a value with a line break has its length in octets before it, in 8 octets, lowest first', () => {
  const encoded = encodeEntry({ text: 'ü\n2', priority: 3, fields: {} });
  const expected = Buffer.from('MESSAGE\n\x04\0\0\0\0\0\0\0\xc3\xbc\n2\nPRIORITY=3\n', 'latin1');
  assert.deepEqual(encoded.subarray(0, expected.length), expected);
});

test('a reader of the protocol gets every value back, whatever is in it', (t) => {
  const value = fc.string({ unit: 'grapheme' }).map((text) => text.toWellFormed());
  const broken = fc.array(fc.oneof(value, fc.constantFrom('\n', '=', 'PRIORITY=0\n')));
  holds(
    t,
    fc.property(broken, fc.array(value), (pieces, list) => {
      const entry: Entry = { text: pieces.join(''), priority: 4, fields: { MAIL_X: list } };
      assert.deepEqual(parse(encodeEntry(entry)), [
        ['MESSAGE', entry.text],
        ['PRIORITY', '4'],
        ['SYSLOG_IDENTIFIER', 'appengine-mailer'],
        ['SYSLOG_FACILITY', '2'],
        ...list.map((each) => ['MAIL_X', each]),
      ]);
    }),
    500,
  );
});

test('on a processor for which koffi is not installed entries go to standard error with their priority', async (t) => {
  const module = inCheckout('dist/host/systemd/journal-sink.js');
  const script = `
    import { fstatSync } from 'node:fs';
    Object.defineProperty(process, 'arch', { value: 'none' });
    const { journalSink } = await import(${JSON.stringify(module)});
    const { dev, ino } = fstatSync(2);
    const sink = journalSink({ JOURNAL_STREAM: dev + ':' + ino });
    for (const text of ['one', 'two']) sink({ text, priority: 5, fields: {} });`;
  const { code, stderr } = await run(t, process.execPath, ['--input-type=module', '-e', script]);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '<5>one\n<5>two\n');
});

/** Reads a datagram as journald does. */
function parse(datagram: Buffer): [name: string, value: string][] {
  const fields: [string, string][] = [];
  for (let at = 0; at < datagram.length;) {
    const lineEnd = datagram.indexOf('\n', at);
    const line = datagram.toString('utf8', at, lineEnd);
    const equals = line.indexOf('=');
    at = lineEnd + 1;
    if (equals >= 0) {
      fields.push([line.slice(0, equals), line.slice(equals + 1)]);
      continue;
    }
    const end = at + 8 + Number(datagram.readBigUInt64LE(at));
    fields.push([line, datagram.toString('utf8', at + 8, end)]);
    assert.equal(datagram[end], 0x0a);
    at = end + 1;
  }
  return fields;
}

const mail = (text: string) => ({ id: 'ab12', eximId: '1abc-0', sender: text });
const reportedMail = (text: string) => ({
  id: 'ab12',
  eximId: '1abc-0',
  kind: 'failure' as const,
  recipients: [{ address: text }],
});

/** Every method, with foreign text wherever some may come in. The type says when one is missing. */
type Calls<Journal> = { [Method in keyof Journal]: (journal: Journal, text: string) => void };

const recipients = (text: string) =>
  ['sent', 'pending', 'failed'].map((state) => ({
    address: text,
    state,
    status: '4.0.0',
    reason: text,
  }));
const attempt = (text: string, from = 0, to = 3) => ({
  attempt: 3,
  recipients: recipients(text).slice(from, to),
  dueAt: 60_000,
  now: 0,
});

const ofDrain: Calls<DrainJournal> = {
  sent: (journal, text) => journal.sent(mail(text), attempt(text, 0, 1)),
  deferred: (journal, text) => journal.deferred(mail(text), attempt(text, 0, 2)),
  failed: (journal, text) => journal.failed(mail(text), attempt(text)),
  postponed: (journal, text) =>
    journal.postponed(mail(text), [text, 'a@b'], {
      attempt: 2,
      status: '4.4.1',
      text,
      waitMs: 1000,
    }),
  inProgress: (journal, text) => journal.inProgress(mail(text), 2, [text, 'a@b']),
  longInProgress: (journal, text) =>
    journal.longInProgress(mail(text), [text, 'a@b'], text, 3_600_000),
  endpointSlower: (journal, text) => journal.endpointSlower(text, text, 2),
  endpointDown: (journal, text) =>
    journal.endpointDown([text, text], { text, failures: 2, waitMs: 1000, queued: 7 }),
  endpointUp: (journal, text) => journal.endpointUp(text, 1000, 7),
  fallback: (journal, text) => journal.fallback({ url: text, reason: text }),
  fallbackOver: (journal, text) => journal.fallbackOver(text),
  proxyGivenUp: (journal, text) => journal.proxyGivenUp(text, 2),
  operatorFault: (journal, text) => journal.operatorFault(text, text, true),
  drainStarted: (journal, text) => journal.drainStarted(text, [text], { queued: 1, recovered: 1 }),
  keyUnsafe: (journal, text) => journal.keyUnsafe({ text, todo: text }),
  drainStopped: (journal, text) => journal.drainStopped(text, 0),
  spoolTrouble: (journal, text) => journal.spoolTrouble(text, text, 5000),
  messageDamaged: (journal, text) => journal.messageDamaged(mail(text), text, text),
  maybeSent: (journal, text) =>
    journal.maybeSent(mail(text), 2, [text, 'a@b'], { text, remedy: text }),
  spoolRepaired: (journal, text) => journal.spoolRepaired(text),
  spoolUsable: (journal, text) => journal.spoolUsable(text),
  spoolLogCut: (journal, text) => journal.spoolLogCut(text),
  spoolLogGrown: (journal, text) => journal.spoolLogGrown(text, 3e8, [text]),
  spoolLogShrunk: (journal, text) => journal.spoolLogShrunk(text),
  spoolReplaced: (journal, text) => journal.spoolReplaced(text, new Error(text)),
  spoolRescued: (journal, text) => journal.spoolRescued(text, 2),
  spoolUnwatched: (journal, text) => journal.spoolUnwatched(text, text, 5000),
  metricsServed: (journal, text) => journal.metricsServed(text),
  metricsUnavailable: (journal, text) => journal.metricsUnavailable(text, text),
  nobodyTold: (journal, text) => journal.nobodyTold(mail(text), [text]),
  noticeSent: (journal, text) => journal.noticeSent(text, [reportedMail(text)]),
  noticeUnanswered: (journal, text) =>
    journal.noticeUnanswered(text, [reportedMail(text)], { text, waitMs: 900_000 }),
  noticeRefused: (journal, text) => journal.noticeRefused(text, [reportedMail(text)], text),
  noticesWait: (journal, text) => journal.noticesWait(text, text),
  noticesGoOn: (journal, text) => journal.noticesGoOn(text),
};

const down = { attempt: 1, status: '4.4.1', text: 'down', waitMs: 1000 };
const posted = (key = '') => ({ key, id: 'ab12' });

const ofProxy: Calls<ProxyJournal> = {
  started: (journal, text) => {
    const ledger = { name: text, isEmpty: true };
    journal.started(text, text, { ledger, keys: 1, softBounce: true });
  },
  nameless: (journal, text) => journal.nameless(text, text),
  listensElsewhere: (journal, text) => journal.listensElsewhere([text]),
  stopped: (journal, text) => journal.stopped(text),
  verdicts: (journal, text) =>
    journal.verdicts(posted(text), text, [{ recipient: text, status: '5.0.0', reason: text }]),
  keyUnsafe: (journal, text) => journal.keyUnsafe({ text, todo: text }),
  keys: (journal) => journal.keys(2),
  keysTrouble: (journal, text) => journal.keysTrouble(text),
  senderFixed: (journal, text) => journal.senderFixed(posted(), text, text, text),
  headersDropped: (journal, text) => journal.headersDropped(posted(), [text, 'date']),
  paced: (journal, text) => journal.paced(text),
  throttled: (journal, text) => journal.throttled(text),
  unreadable: (journal, text) => journal.unreadable(posted(), text),
  unknown: (journal, text) => journal.unknown(posted(), [text], text),
  unknownListed: (journal, text) => journal.unknownListed(text, { listed: 3, found: 1 }),
  refused: (journal, text) =>
    journal.refused({ from: text, id: text, status: 400, reason: text, key: text }),
  strangers: (journal) => journal.strangers(2),
  busy: (journal, text) => journal.busy(text),
  notPruned: (journal, text) => journal.notPruned(text),
  ledgerLogCut: (journal, text) => journal.ledgerLogCut(text),
  ledgerLogGrown: (journal, text) => journal.ledgerLogGrown(text, 3e8, [text]),
  ledgerLogShrunk: (journal, text) => journal.ledgerLogShrunk(text),
  databaseLost: (journal, text) => journal.databaseLost(text, text),
  databaseBack: (journal, text) => journal.databaseBack(text, 1000, false),
  databaseUnsafe: (journal, text) => journal.databaseUnsafe(text, text),
  databaseSetBack: (journal, text) => journal.databaseSetBack(text, 1000),
  ledgerRepaired: (journal, text) => journal.ledgerRepaired(text),
  ledgerReplaced: (journal, text) => journal.ledgerReplaced(text),
  trouble: (journal, text) => journal.trouble(text),
  metricsServed: (journal, text) => journal.metricsServed(text),
  metricsUnavailable: (journal, text) => journal.metricsUnavailable(text, text),
};

type Call = (sink: Sink, text: string) => void;
const calls = new Map<string, Call>([
  ...Object.entries(ofDrain).map(([method, call]): [string, Call] => [
    method,
    (sink, text) => call(drainJournal(sink), text),
  ]),
  ...Object.entries(ofProxy).map(([method, call]): [string, Call] => [
    `${PREFIX}${method}`,
    (sink, text) => call(proxyJournal(sink), text),
  ]),
]);

function entriesOf(method: string, text: string): Entry[] {
  const entries: Entry[] = [];
  calls.get(method)?.((entry) => entries.push(entry), text);
  return entries;
}

const UNFIT = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Cf}\p{Default_Ignorable_Code_Point}]/u;

const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '\n',
        '\r',
        '\0',
        '\x1b[2J',
        '\x9b',
        '\u2028',
        '\u2029',
        '\u202e',
        '\udc8a',
        '\u200b',
        '\ufeff',
      ),
      fc.string({ unit: 'binary' }),
    ),
  )
  .map((pieces) => pieces.join(''));

/** Of journald: a line of standard error (journald.conf(5)), and the fields of an entry; of Linux: a datagram. */
const LINE_MAX = 48 * 1024;
const ENTRY_FIELD_COUNT_MAX = 1024;
const WMEM_DEFAULT = 212_992 - 32;

const tooMuch: [what: string, text: string][] = [
  ['150 KB with a priority at every place', '<2>attention: forged '.repeat(7500)],
  ['150 KB of what is escaped', '\x1b\n<2>'.repeat(30_000)],
  ['150 KB in characters of three octets', '世'.repeat(50_000)],
  ['150 KB in characters of four octets', '😀'.repeat(37_500)],
];

for (const method of calls.keys()) {
  test(`${method} is one line without control characters, whatever it is told`, (t) => {
    holds(
      t,
      fc.property(hostile, (text) => {
        const [entry, ...more] = entriesOf(method, text);
        assert.ok(entry);
        assert.deepEqual(more, []);
        for (const each of [entry.text, ...Object.values(entry.fields).flat()]) {
          assert.doesNotMatch(String(each), UNFIT);
        }
      }),
      100,
    );
  });

  for (const [what, text] of tooMuch) {
    test(`${method} fits into what journald takes of an entry, and its text into a line: ${what}`, () => {
      const [entry] = entriesOf(method, text);
      assert.ok(entry);
      assert.ok(Buffer.byteLength(entry.text) < LINE_MAX / 2 + 10, `${entry.text.length}`);
      assert.doesNotMatch(entry.text, UNFIT);
      const datagram = encodeEntry(entry);
      assert.ok(datagram.length < WMEM_DEFAULT, `${datagram.length}`);
      assert.ok(parse(datagram).every(([, value]) => !UNFIT.test(value)));
    });
  }

  test(`${method} has an event and its catalog id`, () => {
    const { MAIL_EVENT, MESSAGE_ID } = entriesOf(method, 'x')[0]?.fields ?? {};
    assert.match(String(MAIL_EVENT), /^[a-z_]+$/);
    assert.match(String(MESSAGE_ID), /^[0-9a-f]{32}$/);
  });
}

test('the fields of a message can be asked for: id, Exim id, recipients, statuses, attempt, due', () => {
  const [entry] = entriesOf('failed', 'a@b');
  const { MAIL_EVENT, ...fields } = entry?.fields ?? {};
  assert.equal(MAIL_EVENT, 'failed');
  assert.deepEqual(fields, {
    MESSAGE_ID: fields['MESSAGE_ID'],
    MAIL_ID: 'ab12',
    EXIM_ID: '1abc-0',
    MAIL_RECIPIENT: ['a@b', 'a@b', 'a@b'],
    MAIL_STATUS: ['4.0.0'],
    MAIL_ATTEMPT: 3,
    MAIL_DUE: '1970-01-01T00:01:00.000Z',
  });
});

test('what journalctl -x explains has the status of what it is about, and no other', () => {
  const entries: Entry[] = [];
  const journal = drainJournal((entry) => entries.push(entry));
  const verdicts = {
    sent: ['sent', '2.0.0'],
    full: ['pending', '4.2.2'],
    gone: ['failed', '5.1.1'],
  } as const;
  const told = (...names: (keyof typeof verdicts)[]) => {
    const verdictsOf = names.map((name) => {
      const [state, status] = verdicts[name];
      return { address: `${name}@b`, state, status, reason: 'x' };
    });
    const about = { attempt: 1, recipients: verdictsOf, dueAt: 60_000, now: 0 };
    journal[attemptEvent(verdictsOf)](mail('s@c'), about);
    const { priority, fields } = entries.pop() ?? assert.fail();
    return [fields['MAIL_EVENT'], fields['MAIL_STATUS'], priority];
  };
  // A refusal is everyday business, as it is to Exim and Postfix.
  assert.deepEqual(told('sent', 'full', 'gone'), ['failed', ['5.1.1'], 6]);
  assert.deepEqual(told('sent', 'full'), ['deferred', ['4.2.2'], 6]);
  assert.deepEqual(told('sent'), ['sent', ['2.0.0'], 6]);
});

test('no entry has more fields than journald takes, and the last of a list counts what is left out', () => {
  const entries: Entry[] = [];
  const drain = drainJournal((entry) => entries.push(entry));
  const proxy = proxyJournal((entry) => entries.push(entry));
  const addresses = Array.from({ length: 10_000 }, (_, number) => `${number}`.padStart(320, 'ü'));
  const all = addresses.map((address, number) => ({
    address,
    recipient: address,
    state: 'pending',
    status: `4.${number % 1000}.${number}`,
    reason: `${address} ${number}`,
  }));
  drain.deferred(mail('s@c'), { attempt: 1, recipients: all, dueAt: 60_000, now: 0 });
  drain.postponed(mail('s@c'), addresses, down);
  drain.noticeSent(
    's@c',
    addresses.map((each) => ({ ...reportedMail(each), id: each, eximId: each })),
  );
  proxy.verdicts({ key: '', id: 'ab12' }, 's@c', all);
  assert.equal(entries.length, 4);
  for (const entry of entries) {
    const datagram = encodeEntry(entry);
    assert.ok(datagram.length < WMEM_DEFAULT, `${datagram.length}`);
    assert.ok(parse(datagram).length < ENTRY_FIELD_COUNT_MAX, `${parse(datagram).length}`);
    const listed = entry.fields['MAIL_RECIPIENT'] as string[];
    assert.equal(listed.at(-1), `and ${10_000 - (listed.length - 1)} more`);
  }
});

test('a line names ten recipients and counts the rest, the fields have them all, and it says how to find one', () => {
  const entries: Entry[] = [];
  const journal = drainJournal((entry) => entries.push(entry));
  const addresses = Array.from({ length: 12 }, (_, number) => `r${number}@b`);
  journal.postponed(mail('s@c'), addresses, down);
  assert.match(
    entries[0]?.text ?? '',
    /<r9@b> and 2 more .*; to find the others: journalctl MAIL_RECIPIENT=ADDRESS$/,
  );
  assert.deepEqual(entries[0]?.fields['MAIL_RECIPIENT'], addresses);
  journal.postponed(mail('s@c'), addresses.slice(2), down);
  assert.doesNotMatch(entries[1]?.text ?? '', /to find/, 'all of ten are named');
});

test('the catalog names no field that an entry of its event may lack', () => {
  const tables = { '': drainEvents, [PREFIX]: proxyEvents };
  const least: Entry[] = [];
  const sink = (entry: Entry) => least.push(entry);
  drainJournal(sink).failed(mail('a@b'), attempt('a@b', 2, 3));
  proxyJournal(sink).refused({ from: 'c', id: undefined, status: 400, reason: 'x' });
  for (const [prefix, events] of Object.entries<JournalEvents>(tables)) {
    for (const [name, { id, subject, help }] of Object.entries(events)) {
      const named = [...`${subject}${help}`.matchAll(/@(\w+)@/g)].map(([, field = '']) => field);
      const entries = [...entriesOf(`${prefix}${name}`, 'a@b'), ...least];
      for (const { fields } of entries.filter((entry) => entry.fields['MESSAGE_ID'] === id)) {
        assert.deepEqual(
          named.filter((field) => fields[field] === undefined),
          [],
          name,
        );
      }
    }
  }
});

test('what is about a key with a name has it as a field, and the client; without a name there is no such field', () => {
  const entries: Entry[] = [];
  const journal = proxyJournal((entry) => entries.push(entry));
  for (const key of ['web1', '']) {
    const message = { key, id: 'ab12', client: '127.0.0.1:1' };
    const verdict = { recipient: 'a@b', status: '2.0.0', reason: 'x' };
    journal.verdicts(message, 's@c', [verdict]);
    journal.unknown(message, ['a@b'], 'x');
    journal.senderFixed(message, 's@c', 'x', 'y');
    journal.headersDropped(message, ['date']);
    journal.unreadable(message, 'x');
    journal.refused({ from: '127.0.0.1:1', id: 'ab12', status: 429, reason: 'x', key });
  }
  assert.deepEqual(
    entries.map(({ fields }) => fields['MAIL_KEY']),
    [...Array<string>(6).fill('web1'), ...Array<undefined>(6).fill(undefined)],
  );
  for (const { text, fields } of entries) {
    assert.equal(text.includes('web1'), fields['MAIL_KEY'] === 'web1', text);
    assert.ok(text.includes('127.0.0.1:1'), text);
    assert.equal(fields['MAIL_CLIENT'], '127.0.0.1:1');
  }
});
