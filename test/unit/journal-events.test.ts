import assert from 'node:assert/strict';
import test from 'node:test';
import { drainEvents } from '../../src/drain/drain-journal.ts';
import { journalEventName, type JournalEvents } from '../../src/host/journal.ts';
import { INTAKE_PREFIX, intakeEvents } from '../../src/intake/intake-journal.ts';
import { priorities } from '../../src/host/systemd/journal-sink.ts';
import { PREFIX, proxyEvents } from '../../src/proxy/proxy-journal.ts';
import { assertGolden } from '../support/golden.ts';

interface Table {
  file: string;
  prefix: string;
  events: JournalEvents;
}

/** The tables of events that the catalog and the manual page of a package are made from. */
const packages: { name: string; tables: Table[] }[] = [
  {
    name: 'appengine-mailer',
    tables: [
      { file: 'src/drain/drain-journal.ts', prefix: '', events: drainEvents },
      { file: 'src/intake/intake-journal.ts', prefix: INTAKE_PREFIX, events: intakeEvents },
    ],
  },
  {
    name: 'appengine-mailer-proxy',
    tables: [{ file: 'src/proxy/proxy-journal.ts', prefix: PREFIX, events: proxyEvents }],
  },
];

for (const { name, tables } of packages) {
  const table = tables.map(({ file }) => file).join(' and ');
  const named = tables.flatMap(({ prefix, events }) =>
    Object.entries(events).map(([method, event]) => ({
      ...event,
      event: journalEventName(method, prefix),
      help: event.help
        .trim()
        .split('\n')
        .map((line) => line.trim())
        .join('\n'),
    })),
  );

  test(`the message catalog of ${name} is made from the table of its events`, () => {
    const entries = named.map(
      ({ event, id, subject, manual, help }) =>
        `\n# ${event}\n-- ${id}\nSubject: ${subject}\nDefined-By: appengine-mailer\n` +
        `Documentation: man:${manual}\n\n${help}\n`,
    );
    const head = `# What \`journalctl -x\` shows below each entry. Made from ${table} by test/unit/journal-events.test.ts.\n`;
    assertGolden(`systemd/${name}.catalog`, head + entries.join(''));
  });

  test(`the manual page of ${name} lists the events of the journal`, () => {
    const items = named.map(({ event, priority, subject }) => {
      const text = subject
        .replace(/^Message @MAIL_ID@/, 'A message')
        .replace('message @MAIL_ID@', 'a message');
      return `.It ${event} Pq ${PRIORITY_NAMES[priority]}\n${text}.\n`;
    });
    const begin = `.\\" Made from ${table} by test/unit/journal-events.test.ts.\n`;
    const list = `${begin}.Bl -tag -width Ds -compact\n${items.join('')}.El\n`;
    const part = /^\.\\" Made from .+ by test\/unit\/journal-events\.test\.ts\.\n[^]*?^\.El\n/m;
    assertGolden(`debian/man/${name}.8`, list, part);
  });

  test(`the catalog of ${name} has plain lines and a sentence about each event`, () => {
    for (const { event, subject, help } of named) {
      assert.match(subject, /^[A-Z][^.]*$/, event);
      assert.match(help, /^\S[^]*[.\w@]$/, event);
      for (const line of help.split('\n')) assert.ok(line.length <= 110, `${event}: ${line}`);
    }
  });
}

/** As journalctl -p takes them. */
const PRIORITY_NAMES = {
  [priorities.error]: 'err',
  [priorities.warning]: 'warning',
  [priorities.notice]: 'notice',
  [priorities.info]: 'info',
};

test('every event has a catalog id of its own', () => {
  const tables = packages.flatMap((each) => each.tables);
  const ids = tables.flatMap(({ events }) => Object.values(events).map(({ id }) => id));
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});
