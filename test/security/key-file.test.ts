import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import * as fc from 'fast-check';
import { readKeys } from '../../src/proxy/policy/keyring.ts';
import { holds } from '../support/holds.ts';
import { DebianExim } from '../support/debian-exim.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, inCheckout } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { signedPost } from '../support/signed-post.ts';

const LIST = '@list.example';
const KEY = 'a key that is long enough';

/** The senders and the name that a file of keys gives to its keys, or what it is refused for. */
function read(folder: string, text: string | Buffer): string {
  const file = join(folder, 'keys');
  writeFileSync(file, text);
  try {
    return readKeys(file)
      .keys.map(({ secret, name, allowedSenders }) => {
        const senders = allowedSenders ? [...allowedSenders].join() : 'anybody';
        return `${secret.toString()}|${name}|${senders}`;
      })
      .join('\n');
  } catch (error) {
    return (error as Error).message.replaceAll(file, 'FILE');
  }
}

/** What looks like a directive and is none. Taken for comments, or keys, they let the key send as anybody. */
const nearly: [line: string, is: RegExp][] = [
  ...[
    `#\u00a0allow-sender ${LIST}`,
    `## allow-sender ${LIST}`,
    `# allow\u2010sender ${LIST}`,
    `# allow\u2011sender ${LIST}`,
    `# allow\u2013sender ${LIST}`,
    `# allow\u2212sender ${LIST}`,
    `# allow-sender\u00a0${LIST}`,
    `# allow-sender:${LIST}`,
    `#allow-sender${LIST}`,
    `# Allow-Sender ${LIST}`,
    `# ALLOW_SENDER = ${LIST}`,
    `# allowed senders ${LIST}`,
    `# allowsender ${LIST}`,
    `# alow-sender ${LIST}`,
    `# allow-sedner ${LIST}`,
    `# allow-send\u200ber ${LIST}`,
    `# al\u00adlow-sender ${LIST}`,
    `\u200b# allow-sender ${LIST}`,
    `\ufeff# allow-sender ${LIST}`,
    `\u00a0# allow-sender ${LIST}`,
    `\uff03 allow-sender ${LIST}`,
    `# \uff41\uff4c\uff4c\uff4f\uff57-sender ${LIST}`,
    `#!allow-sender ${LIST}`,
    `# - allow-sender ${LIST}`,
    `// allow-sender ${LIST}`,
    `; allow-sender ${LIST}`,
    `allow-sender ${LIST}`,
  ].map((line): [string, RegExp] => [
    line,
    /^line 2 of FILE looks like # allow-sender ADDRESS, but is not/,
  ]),
  ...[
    '#\u00a0name web1',
    '## name web1',
    '# Name web1',
    '# name: web1',
    '# name=web1',
    '# name\u00a0web1',
    '# na\u200bme web1',
    'name web1',
  ].map((line): [string, RegExp] => [line, /^line 2 of FILE looks like # name NAME, but is not/]),
  ['\u00a0# a comment', /^line 2 of FILE looks like a comment or a blank line, but is not/],
  ['\u3000', /^line 2 of FILE looks like a comment or a blank line, but is not/],
  ['# name', /^line 2 of FILE has no name: /],
  ['# name web 1', /^line 2 of FILE has no name: /],
  ['# name web1 # the first', /^line 2 of FILE has no name: /],
  ['# name web/1', /^line 2 of FILE has no name: /],
  [`# name ${'x'.repeat(65)}`, /^line 2 of FILE has no name: /],
  ['# name one\n# name two', /^line 3 of FILE is a second # name of the same key$/],
];

test('a comment that is nearly a directive is an error that names its line, and no comment', (t) => {
  const folder = scratch(t);
  for (const [line, is] of nearly) {
    assert.match(read(folder, `# a comment\n${line}\n${KEY}\n`), is, JSON.stringify(line));
  }
  assert.equal(
    read(folder, `${KEY}\n# name web1\n`),
    'there is no key after the last # name of FILE',
  );
});

test('ordinary comments stay comments', (t) => {
  const folder = scratch(t);
  const comments = [
    '# the name of this host is web1',
    '# name of this host: web1',
    '# names of hosts are below',
    '# hostname web1',
    '# no allow-sender: it may send as anybody',
    '# sender of the newsletter',
    '# allow this one until May',
    '# all senders',
    '# the old one, until May',
    '#-----------------',
    '# web1 <admin@example.org>',
    '# ключ для web1',
    '#',
  ];
  assert.equal(read(folder, `${comments.join('\n')}\n${KEY}\n`), `${KEY}||anybody`);
});

test('a key with an invisible character at its ends is an error that does not tell the key', (t) => {
  const folder = scratch(t);
  for (const odd of [
    '\u00a0',
    '\u200b',
    '\u3000',
    '\u00ad',
    '\u2028',
    '\u0085',
    '\ufeff',
    '\u2060',
  ]) {
    for (const key of [`${odd}${KEY}`, `${KEY}${odd}`]) {
      const said = read(folder, `# first\n${key}\n`);
      assert.equal(
        said,
        'line 2 of FILE has a key that begins or ends with an invisible character',
      );
    }
  }
  const latin1 = Buffer.from(`${KEY}\xa0\n`, 'latin1');
  assert.match(read(folder, latin1), /^line 1 of FILE has a key that begins or ends/);
  assert.equal(read(folder, 'schlüssel für web1\n'), 'schlüssel für web1||anybody');
});

test('keys of one name are those of one host; the same key twice is one key, or an error', (t) => {
  const folder = scratch(t);
  const exchange = `# name web1\n# allow-sender ${LIST}\nold key\n#name web1\n\n# allow-sender ${LIST}\nnew key\nnameless\n`;
  assert.equal(
    read(folder, exchange),
    `old key|web1|${LIST}\nnew key|web1|${LIST}\nnameless||anybody`,
  );
  assert.equal(read(folder, 'a\nb\na\n'), 'a||anybody\nb||anybody');
  for (const directive of [`# allow-sender ${LIST}`, '# name web1']) {
    assert.equal(
      read(folder, `a\nb\n${directive}\na\n`),
      'line 4 of FILE has the key of line 1 of FILE again, with another name or senders',
    );
  }
});

test('however a directive is disfigured: its key has the list, or the file is refused', (t) => {
  const folder = scratch(t);
  const alike: Record<string, string[]> = {
    ' ': ['\u00a0', '\u3000', '\t', '  ', '\u200a', ' \u200b'],
    '-': ['\u2010', '\u2011', '\u2012', '\u2013', '\u2014', '\u2212', '_', ' ', ''],
    '#': ['##', '# #', '\uff03', '\ufe5f', '\u200b#'],
    e: ['E', '\uff45', 'e\u00ad', 'e\u200d'],
    l: ['L', '\u2113', '\uff4c', 'l\u2060'],
    w: ['W', '\uff57', '\ufe0fw'],
  };
  const directive = Array.from(`# allow-sender`);
  const choices = fc.array(fc.option(fc.nat(100), { freq: 4 }), {
    minLength: directive.length,
    maxLength: directive.length,
  });
  holds(
    t,
    fc.property(choices, (chosen) => {
      const line = directive.map((letter, at) => {
        const forms = alike[letter] ?? [letter];
        const choice = chosen[at];
        return choice === null || choice === undefined ? letter : forms[choice % forms.length];
      });
      const said = read(folder, `${line.join('')} ${LIST}\n${KEY}\n`);
      assert.match(said, new RegExp(`^${KEY}\\|\\|${LIST}$|^line 1 of FILE `), line.join(''));
    }),
  );
});

test('a reload with such a comment leaves the old keys in force, and the journal names the line', async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'keys');
  writeFileSync(file, `# allow-sender ${LIST}\n${KEY}\n`);
  const proxy = await road.proxy(['--keys-file', file]);
  writeFileSync(file, `# the list\n#\u00a0allow-sender ${LIST}\n${KEY}\n`);
  await proxy.says(
    /the keys cannot be read again, and the old ones stay in force: line 2 of \S+ looks like # allow-sender ADDRESS, but is not: #\\u\{a0\}allow-sender @list\.example/,
  );
  const sends = async (sender: string) => {
    const bytes = `From: ${sender}\n\nx\n`;
    const { body } = await signedPost(road.address, { key: KEY, sender, bytes });
    return body.toString();
  };
  assert.match(await sends('a@bank.example'), /"5\.7\.1"/);
  assert.match(await sends('a@list.example'), /"2\.0\.0"/);
  await proxy.stop();

  const args = ['proxy', '--listen', '127.0.0.1:0', '--keys-file', file];
  const { code, stderr } = await appengineMailer(t, args, { cwd: road.folder, input: '' }).ended;
  assert.equal(code, 78);
  assert.match(stderr, /line 2 of \S+ looks like # allow-sender/);
});

test('law 10: a key that can be guessed, or that everybody can read, is told at each start, and works', async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'keys');
  writeFileSync(file, `# name web1\nfifteen octets.\nsixteen octets..\nshort\n`);
  chmodSync(file, 0o644);
  const proxy = await road.proxy(['--keys-file', file]);
  await proxy.says(
    /attention: keys are shorter than 16 octets, so that they can be guessed: web1 \(line 2 of \S+\), line 4 of \S+\. To do: .*openssl rand -base64 32/,
  );
  await proxy.says(
    /attention: \S+keys has mode 0644, so that everybody .*\. To do: chmod 600 \S+keys/,
  );
  assert.equal((await signedPost(road.address, { key: 'short' })).status, 200);
  assert.doesNotMatch(proxy.stderr, /octets\.\n|octets\.\.|short\b(?!er)/);
  await proxy.stop();

  writeFileSync(file, 'sixteen octets..\n');
  chmodSync(file, 0o600);
  const safe = await road.proxy(['--keys-file', file], { GMAIL_SECRET_KEY: '' });
  assert.doesNotMatch(safe.stderr, /attention/);

  const key = 'sixteen octets..';
  const drain = (secret: string) => road.drain(['--once'], { GMAIL_SECRET_KEY: secret }).ended;
  assert.match(
    (await drain('fifteen octets.')).stderr,
    /GMAIL_SECRET_KEY is shorter than 16 octets/,
  );
  assert.doesNotMatch((await drain(key)).stderr, /attention/);
});

test(
  'law 10: a key in /etc/default, which everybody can read, is told at each start, with the file',
  needs('root', 'exim4'),
  async (t) => {
    const machine = await DebianExim.make(t);
    const starts = (name: string, ...args: string[]) => {
      const file = `/etc/default/appengine-mailer${name}`;
      machine.write(file, `GMAIL_SECRET_KEY='${KEY}'\nGMAIL_PROXY_URL=http://127.0.0.1:1/\n`);
      chmodSync(machine.path(file), 0o644);
      const program = inCheckout('dist/bin/appengine-mailer.js');
      return machine.start('env', ['-C', '/tmp', process.execPath, program, ...args]);
    };
    const discard = ['--backend', 'discard', '--ledger', join(scratch(t), 'ledger.db')];
    const proxy = starts('-proxy', 'proxy', '--listen', '127.0.0.1:0', ...discard);
    await proxy.says(
      /attention: \/etc\/default\/appengine-mailer-proxy has mode 0644, .* To do: take the key out of/,
    );
    const drain = starts('', 'drain');
    await drain.says(
      /attention: \/etc\/default\/appengine-mailer has mode 0644, .* exchange the key/,
    );
  },
);
