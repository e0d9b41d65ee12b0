import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import * as fc from 'fast-check';
import { DrainJournal } from '../../src/drain/drain-journal.ts';
import { encodeEntry, type Entry, type Sink } from '../../src/host/systemd/journal-sink.ts';
import { ProxyJournal } from '../../src/proxy/proxy-journal.ts';
import { holds } from '../support/holds.ts';
import { inCheckout } from '../support/program.ts';

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
const toldMail = (text: string) => ({
  id: 'ab12',
  eximId: '1abc-0',
  kind: 'failure' as const,
  recipients: [{ address: text }],
});

/** Every method, with foreign text wherever some may come in. The type says when one is missing. */
type Calls<Journal> = { [Method in keyof Journal]: (journal: Journal, text: string) => void };

const ofDrain: Calls<DrainJournal> = {
  attempted: (journal, text) => {
    const states = ['sent', 'pending', 'failed'] as const;
    const recipients = states.map((state) => ({
      address: text,
      state,
      status: '4.0.0',
      reason: text,
    }));
    journal.attempted(mail(text), 3, recipients, 60_000, 0);
  },
  postponed: (journal, text) =>
    journal.postponed(mail(text), 2, [text, 'a@b'], '4.4.1', text, 1000),
  inProgress: (journal, text) => journal.inProgress(mail(text), 2, [text, 'a@b']),
  endpointSlower: (journal, text) => journal.endpointSlower(text, text, 2),
  endpointDown: (journal, text) => journal.endpointDown(text, text, 2, 1000, 7),
  endpointUp: (journal, text) => journal.endpointUp(text, 1000, 7),
  operatorFault: (journal, text) => journal.operatorFault(text, text),
  drainStarted: (journal, text) => journal.drainStarted(text, text, 1, 1),
  keyUnsafe: (journal, text) => journal.keyUnsafe({ text, todo: text }),
  drainStopped: (journal, text) => journal.drainStopped(text, 0),
  spoolTrouble: (journal, text) => journal.spoolTrouble(text, text, 5000),
  messageDamaged: (journal, text) => journal.messageDamaged(mail(text), text),
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
  nobodyTold: (journal, text) => journal.nobodyTold(mail(text), [text]),
  senderTold: (journal, text) => journal.senderTold(text, [toldMail(text)]),
  noticeUnanswered: (journal, text) =>
    journal.noticeUnanswered(text, [toldMail(text)], text, 900_000),
  noticeRefused: (journal, text) => journal.noticeRefused(text, [toldMail(text)], text),
  noticesWait: (journal, text) => journal.noticesWait(text, text),
  noticesGoOn: (journal, text) => journal.noticesGoOn(text),
};

const ofProxy: Calls<ProxyJournal> = {
  proxyStarted: (journal, text) =>
    journal.proxyStarted(text, text, { file: text, isEmpty: true }, 1, true),
  nameless: (journal, text) => journal.nameless(text, text),
  listensElsewhere: (journal, text) => journal.listensElsewhere([text]),
  proxyStopped: (journal, text) => journal.proxyStopped(text),
  verdicts: (journal, text) => {
    const verdicts = [{ recipient: text, status: '5.0.0', reason: text }];
    journal.verdicts({ key: text, id: 'ab12' }, text, verdicts);
  },
  keysUnsafe: (journal, text) => journal.keysUnsafe({ text, todo: text }),
  keysInForce: (journal) => journal.keysInForce(2),
  keysTrouble: (journal, text) => journal.keysTrouble(text),
  senderFixed: (journal, text) => journal.senderFixed({ key: '', id: 'ab12' }, text, text, text),
  headersDropped: (journal, text) =>
    journal.headersDropped({ key: '', id: 'ab12' }, [text, 'date']),
  unreadable: (journal, text) => journal.unreadable({ key: '', id: 'ab12' }, text),
  outcomeUnknown: (journal, text) => journal.outcomeUnknown({ key: '', id: 'ab12' }, [text], text),
  unknownListed: (journal, text) => journal.unknownListed(text, { listed: 3, found: 1 }),
  requestRefused: (journal, text) => journal.requestRefused(text, text, 400, text, text),
  strangersLeftOut: (journal) => journal.strangersLeftOut(2),
  backendBusy: (journal, text) => journal.backendBusy(text),
  notPruned: (journal, text) => journal.notPruned(text),
  ledgerLogCut: (journal, text) => journal.ledgerLogCut(text),
  ledgerLogGrown: (journal, text) => journal.ledgerLogGrown(text, 3e8, [text]),
  ledgerLogShrunk: (journal, text) => journal.ledgerLogShrunk(text),
  ledgerRepaired: (journal, text) => journal.ledgerRepaired(text),
  ledgerReplaced: (journal, text) => journal.ledgerReplaced(text),
  proxyTrouble: (journal, text) => journal.proxyTrouble(text),
};

type Call = (sink: Sink, text: string) => void;
const calls = new Map<string, Call>([
  ...Object.entries(ofDrain).map(([method, call]): [string, Call] => [
    method,
    (sink, text) => call(new DrainJournal(sink), text),
  ]),
  ...Object.entries(ofProxy).map(([method, call]): [string, Call] => [
    method,
    (sink, text) => call(new ProxyJournal(sink), text),
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
  const [entry] = entriesOf('attempted', 'a@b');
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
  const journal = new DrainJournal((entry) => entries.push(entry));
  const verdicts = {
    sent: ['sent', '2.0.0'],
    full: ['pending', '4.2.2'],
    gone: ['failed', '5.1.1'],
  } as const;
  const told = (...names: (keyof typeof verdicts)[]) => {
    const recipients = names.map((name) => {
      const [state, status] = verdicts[name];
      return { address: `${name}@b`, state, status, reason: 'x' };
    });
    journal.attempted(mail('s@c'), 1, recipients, 60_000, 0);
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
  const drain = new DrainJournal((entry) => entries.push(entry));
  const proxy = new ProxyJournal((entry) => entries.push(entry));
  const addresses = Array.from({ length: 10_000 }, (_, number) => `${number}`.padStart(320, 'ü'));
  const all = addresses.map((address, number) => ({
    address,
    recipient: address,
    state: 'pending',
    status: `4.${number % 1000}.${number}`,
    reason: `${address} ${number}`,
  }));
  drain.attempted(mail('s@c'), 1, all, 60_000, 0);
  drain.postponed(mail('s@c'), 1, addresses, '4.4.1', 'down', 1000);
  drain.senderTold(
    's@c',
    addresses.map((each) => ({ ...toldMail(each), id: each, eximId: each })),
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
  const journal = new DrainJournal((entry) => entries.push(entry));
  const recipients = Array.from({ length: 12 }, (_, number) => `r${number}@b`);
  journal.postponed(mail('s@c'), 1, recipients, '4.4.1', 'down', 1000);
  assert.match(
    entries[0]?.text ?? '',
    /<r9@b> and 2 more .*; to find the others: journalctl MAIL_RECIPIENT=ADDRESS$/,
  );
  assert.deepEqual(entries[0]?.fields['MAIL_RECIPIENT'], recipients);
  journal.postponed(mail('s@c'), 1, recipients.slice(2), '4.4.1', 'down', 1000);
  assert.doesNotMatch(entries[1]?.text ?? '', /to find/, 'all of ten are named');
});

/** Every event, as each of its entries is written: the catalog may name only what all of them have. */
function entriesByEvent(): Map<unknown, Entry[]> {
  const entries: Entry[] = [];
  const sink = (entry: Entry) => entries.push(entry);
  for (const call of calls.values()) call(sink, 'a@b');
  const journal = new DrainJournal(sink);
  for (const state of ['sent', 'pending', 'failed']) {
    const recipient = { address: 'a@b', state, status: '4.0.0', reason: 'x' };
    journal.attempted(mail('s@c'), 1, [recipient], 60_000, 0);
  }
  new ProxyJournal(sink).requestRefused('127.0.0.1:1', undefined, 400, 'x');
  const byEvent = new Map<unknown, Entry[]>();
  for (const entry of entries) {
    const id = entry.fields['MESSAGE_ID'];
    byEvent.set(id, [...(byEvent.get(id) ?? []), entry]);
  }
  return byEvent;
}

/** The texts of a package's catalog, with their ids. */
function catalog(name: string): [id: string, text: string][] {
  const text = readFileSync(inCheckout(`systemd/${name}.catalog`), 'utf8');
  const parts = text.replace(/^#.*\n/gm, '').split(/^-- (?=[0-9a-f]{32}$)/m);
  return parts.slice(1).map((part) => [part.slice(0, 32), part.slice(33)]);
}

const catalogs = {
  host: catalog('appengine-mailer'),
  proxy: catalog('appengine-mailer-proxy'),
};

test('journalctl -x explains every event once: each is in the catalog of its own package, and no other', () => {
  const ids = { host: [] as string[], proxy: [] as string[] };
  for (const [id, [entry]] of entriesByEvent()) {
    const isProxy = String(entry?.fields['MAIL_EVENT']).startsWith('proxy_');
    ids[isProxy ? 'proxy' : 'host'].push(String(id));
  }
  for (const name of ['host', 'proxy'] as const) {
    assert.deepEqual(catalogs[name].map(([id]) => id).toSorted(), ids[name].toSorted());
  }
  for (const [, text] of [...catalogs.host, ...catalogs.proxy]) {
    assert.match(
      text,
      /^Subject: \S.*\nDefined-By: appengine-mailer\nDocumentation: man:\S+\n\n\S/,
    );
  }
});

test('the catalog names no field that an entry of its event may lack', () => {
  const texts = new Map([...catalogs.host, ...catalogs.proxy]);
  for (const [id, entries] of entriesByEvent()) {
    for (const [, field = ''] of texts.get(String(id))?.matchAll(/@(\w+)@/g) ?? []) {
      const lacking = entries.filter(({ fields }) => fields[field] === undefined);
      assert.deepEqual(lacking, [], `${field} in the catalog's text of ${String(id)}`);
    }
  }
});

test('what is about a key with a name has it as a field, and the client; without a name there is no such field', () => {
  const entries: Entry[] = [];
  const journal = new ProxyJournal((entry) => entries.push(entry));
  for (const key of ['web1', '']) {
    const message = { key, id: 'ab12', client: '127.0.0.1:1' };
    const verdict = { recipient: 'a@b', status: '2.0.0', reason: 'x' };
    journal.verdicts(message, 's@c', [verdict]);
    journal.outcomeUnknown(message, ['a@b'], 'x');
    journal.senderFixed(message, 's@c', 'x', 'y');
    journal.headersDropped(message, ['date']);
    journal.unreadable(message, 'x');
    journal.requestRefused('127.0.0.1:1', 'ab12', 429, 'x', key);
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
