import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { formPost } from '../support/form-post.ts';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

const mail = (from: string, rest = '') => `From: ${from}\nTo: you@example.org\n${rest}\nHello\n`;

/** The status and reason of the one verdict on a post of HTTP v2. */
async function verdict(
  road: Road,
  sender: string,
  bytes: string | Buffer,
  more: { id?: string; key?: string } = {},
): Promise<string> {
  const answer = await signedPost(road.address, { key: road.key, sender, bytes, ...more });
  const { verdicts } = JSON.parse(answer.body.toString()) as {
    verdicts: { status: string; reason: string }[];
  };
  return verdicts.map(({ status, reason }) => `${status} ${reason}`).join();
}

const STRICT = 'it is not one of the allowed senders; the part before the @ has to match exactly';

test('only senders that are allowed, in envelope and From, may send', async (t) => {
  const road = new Road(t);
  const senders = [
    '@example.com',
    'Me@example.org',
    '@bücher.example',
    '@xn--parallel-koa.example',
  ];
  await road.proxy(senders.flatMap((each) => ['--allow-sender', each]));
  const allowed: [sender: string, from: string][] = [
    ['any@example.com', 'Any One <other@EXAMPLE.com>'],
    ['Me@Example.ORG', 'Me@example.org, group: x@example.com;'],
    ['a@example.com', 'a@example.com <b@example.com>'],
    ['a@example.com', '"evil@example.net, \\" quoted" <a@example.com> (A)'],
    ['a@example.com', '"a b"@example.com'],
    ['a@xn--bcher-kva.example', 'a@Bücher.example'],
    ['a@paral·lel.example', 'a@paral·lel.example'],
    ['', 'a@example.com'],
  ];
  for (const [sender, from] of allowed) {
    assert.match(await verdict(road, sender, mail(from)), /^2\.0\.0 /, `${sender}, ${from}`);
  }
  assert.equal(road.deliveries().length, allowed.length);
  const refused: [sender: string, from: string, offending: string][] = [
    ['me@example.org', 'Me@example.org', 'me@example.org'],
    ['a@sub.example.com', 'a@example.com', 'a@sub.example.com'],
    ['a@xn--bcher-kvb.example', 'a@bücher.example', 'a@xn--bcher-kvb.example'],
    ['a@example.com', 'a@example.com, evil@example.net', 'evil@example.net'],
    ['a@example.com', 'a@example.com\nFrom: evil@example.net', 'evil@example.net'],
    ['a@example.com', 'a@example.com\r\n\t, g: evil@example.net;', 'evil@example.net'],
    ['a@example.com', '"a@example.com" <evil@example.net>', 'evil@example.net'],
    ['example.com@example.net', 'a@example.com', 'example.com@example.net'],
    ['a@example.com', 'evil@example.net>@example.com', 'evil@example.net>@example.com'],
    ['a@example.com', 'a@example.com\nX: y\rFrom: evil@example.net', 'evil@example.net'],
    ['a@example.com', '<a@example.com> <evil@example.net>', 'evil@example.net'],
    ['a@example.com', '<a@example.com>evil@example.net', 'evil@example.net'],
    ['a@example.com', 'evil@example.net <a@example.com>', 'evil@example.net'],
    ['a@example.com', '<a@example.com> "x"evil@example.net', '"x"evil@example.net'],
    ['a@example.com', '<a@example.com> "x\\" evil@example.net', '"x\\" evil@example.net'],
  ];
  for (const [sender, from, offending] of refused) {
    const reason = `Unauthorized message sender '${offending}': ${STRICT}`;
    assert.equal(await verdict(road, sender, mail(from)), `5.7.1 ${reason}`);
    const v1 = await formPost(road.address, {
      key: road.key,
      msg: mail(`${sender}\nFrom: ${from}`),
    });
    assert.deepEqual([v1.status, v1.body.toString()], [400, `${reason} (<you@example.org>)`]);
  }
  assert.equal(
    (await formPost(road.address, { key: road.key, msg: mail('a@example.com') })).status,
    204,
  );
  assert.equal(road.deliveries().length, allowed.length + 1);
});

test('From is found and compared in a header of any size, and the message stays as it is (law 3)', async (t) => {
  const road = new Road(t);
  await road.proxy(['--allow-sender', '@example.com']);
  // As Exim takes it: 12,000 addresses, 312 KB.
  const addresses = Array.from({ length: 12_000 }, (_, n) => `recipient-${n}@example.org`);
  const large = `To: ${addresses.join(',\n ')}\n`;
  const many = 'a:\n'.repeat(10_000_000);
  const messages = [large, `${large}X: ${'x'.repeat(5_000_000)}\n`, many];
  for (const [number, header] of messages.entries()) {
    const bytes = `${header}From: a@example.com\n\nHello\n`;
    assert.match(await verdict(road, 'a@example.com', bytes), /^2\.0\.0 /, `${number}`);
    assert.ok(road.deliveries().some((each) => each.bytes.equals(Buffer.from(bytes))));
    for (const from of [
      'From: evil@example.net',
      'from : evil@example.net',
      'X: y\rFrom: evil@example.net',
    ]) {
      const told = await verdict(road, 'a@example.com', `${header}${from}\n\nHello\n`);
      assert.equal(told, `5.7.1 Unauthorized message sender 'evil@example.net': ${STRICT}`);
    }
  }
  assert.equal(road.deliveries().length, messages.length);
  const endless = mail(`${'b@example.com,'.repeat(limits.headerBytes / 14)} evil@example.net`);
  assert.match(await verdict(road, 'a@example.com', endless), /^5\.7\.1 .* cannot be checked/);
  const froms = `${'From:\n'.repeat(limits.headerBytes / 6)}${mail('evil@example.net')}`;
  assert.match(await verdict(road, 'a@example.com', froms), /^5\.7\.1 .* cannot be checked/);
});

test('hostile quotes in From are refused in a short time', { timeout: 60_000 }, async (t) => {
  const road = new Road(t);
  await road.proxy(['--allow-sender', '@example.com']);
  for (const from of ['"', '\\"', '"\\', '""@', 'a"', '"\\"', '@ ', 'a']) {
    const hostile = mail(`${from.repeat(2_000_000 / from.length)} <evil@example.net>`);
    assert.match(await verdict(road, 'a@example.com', hostile), /^5\.7\.1 /, from);
  }
});

test('fix_sender puts the default sender in envelope and From, and the author into Reply-To', async (t) => {
  const road = new Road(t);
  const args = ['--allow-sender', 'ok@example.com', '--allow-sender', 'noreply@example.com'];
  const proxy = await road.proxy(args, { GMAIL_DEFAULT_SENDER: ' noreply@example.com \n' });
  const author = 'Jos\xe9 <outsider@example.net>,\r\n\tb@example.net';
  const rest = 'To: you@example.org\r\nSubject: \xe9\r\n\r\nFrom: stays\r\n\xff';
  const cases: [posted: string, delivered: string][] = [
    [
      `X: 1\r\nFrom : ${author}\r\n${rest}`,
      `From: noreply@example.com\r\nReply-To: ${author}\r\nX: 1\r\n${rest}`,
    ],
    [
      `From: ${author}\r\nFROM: c@example.net\r\nReply-to: d@example.net\r\n${rest}`,
      `From: noreply@example.com\r\nReply-to: d@example.net\r\n${rest}`,
    ],
    // Nobody could reply to what has no domain.
    [`From: root (Cron)\n${rest}`, `From: noreply@example.com\n${rest}`],
    [
      `From: Me <a@example.net>, b@example.net, root\n${rest}`,
      `From: noreply@example.com\nReply-To: a@example.net, b@example.net\n${rest}`,
    ],
    // A bare CR does not become a line end.
    [
      `From: "x\rSubject: y@example.net" <a@example.net>\r\n${rest}`,
      `From: noreply@example.com\r\nReply-To: "xSubject: y@example.net" <a@example.net>\r\n${rest}`,
    ],
  ];
  for (const [number, [posted, delivered]] of cases.entries()) {
    const msg = Buffer.from(posted, 'latin1');
    const plain = await formPost(road.address, { key: road.key, msg });
    assert.equal(plain.status, 400);
    assert.match(plain.body.toString(), /^Unauthorized message sender '/);
    const fields = { fix_sender: 'false' };
    assert.equal((await formPost(road.address, { key: road.key, msg, fields })).status, 204);
    const found = road
      .deliveries()
      .find(({ bytes }) => bytes.equals(Buffer.from(delivered, 'latin1')));
    assert.equal(found?.sender, 'noreply@example.com', delivered);
    await proxy.says(/is not an allowed sender; sent as <noreply@example\.com>/, number + 1);
  }
  // But where it would, by SMTP, and that line would be a From, nothing is sent.
  const hidden = mail('a@example.net', 'X: y\rFrom: evil@example.net\n');
  const refused = { key: road.key, msg: hidden, fields: { fix_sender: '1' } };
  assert.equal((await formPost(road.address, refused)).status, 400);
  const unset = { fix_sender: '' };
  const msg = mail('a@example.net');
  assert.equal((await formPost(road.address, { key: road.key, msg, fields: unset })).status, 400);
  // Nor is anything else touched in a large header.
  const many = `X: ${'x'.repeat(1_000_000)}\nTo: you@example.org\n`;
  const disallowed = {
    key: road.key,
    msg: `${many}From: a@example.net\n\nHello\n`,
    fields: { fix_sender: '1' },
  };
  assert.equal((await formPost(road.address, disallowed)).status, 204);
  const expected = `From: noreply@example.com\nReply-To: a@example.net\n${many}\nHello\n`;
  assert.ok(road.deliveries().some(({ bytes }) => bytes.toString() === expected));
  // An allowed sender is not touched (law 4), whatever was asked for.
  const mine = mail('ok@example.com');
  const fields = { fix_sender: '1' };
  assert.equal((await formPost(road.address, { key: road.key, msg: mine, fields })).status, 204);
  assert.ok(road.deliveries().some(({ bytes }) => bytes.toString() === mine));
});

test('--fix-sender fixes posts of HTTP v2 too, and nothing that is allowed (law 4)', async (t) => {
  const road = new Road(t);
  const fix = ['--fix-sender', '--default-sender', 'noreply@example.com'];
  await road.proxy([...fix, '--allow-sender', '@example.com']);
  assert.match(await verdict(road, 'a@example.net', mail('b@example.net')), /^2/);
  assert.match(await verdict(road, 'not an address', mail('c@example.net')), /^2/);
  assert.match(await verdict(road, 'd@example.com', mail('d@example.com')), /^2/);
  assert.deepEqual(
    road
      .deliveries()
      .map(({ sender, bytes }) => `${sender} ${bytes.toString()}`)
      .toSorted(),
    [
      'd@example.com From: d@example.com\nTo: you@example.org\n\nHello\n',
      'noreply@example.com From: noreply@example.com\nReply-To: b@example.net\nTo: you@example.org\n\nHello\n',
      'noreply@example.com From: noreply@example.com\nReply-To: c@example.net\nTo: you@example.org\n\nHello\n',
    ],
  );
});

test('a default sender that is missing, or not allowed itself, is not used', async (t) => {
  const road = new Road(t);
  const post = { key: road.key, msg: mail('a@example.net'), fields: { fix_sender: '1' } };
  const none = await road.proxy(['--allow-sender', '@example.com']);
  const missing = await formPost(road.address, post);
  const unauthorized = 'Unauthorized default message sender';
  assert.deepEqual(
    [missing.status, missing.body.toString()],
    [400, `${unauthorized} '': none is configured (<you@example.org>)`],
  );
  await none.stop();
  await road.proxy(['--allow-sender', '@example.com', '--default-sender', 'no@example.org']);
  const { status, body } = await formPost(road.address, post);
  const reason = `${unauthorized} 'no@example.org': ${STRICT}`;
  assert.deepEqual([status, body.toString()], [400, `${reason} (<you@example.org>)`]);
});

test('a key can have senders of its own, in place of those of the proxy', async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'keys');
  const lines = [
    'any',
    '# allow-sender @one.example',
    '# a comment',
    '',
    '#allow-sender a@two.example',
    'own',
  ];
  writeFileSync(file, `${lines.join('\n')}\nlast\n`);
  const proxy = await road.proxy(['--keys-file', file], {
    APPENGINE_MAILER_ALLOW_SENDER: 'me@example.com, @example.org',
    GMAIL_DEFAULT_SENDER: 'me@example.com',
  });
  assert.match(proxy.stderr, /, 3 keys/);
  const seen: Record<string, string> = {};
  for (const sender of [
    'me@example.com',
    'x@example.org',
    'x@one.example',
    'a@two.example',
    'b@two.example',
  ]) {
    const statuses = ['any', 'own', 'last'].map(async (key) => {
      const [status = ''] = (await verdict(road, sender, mail(sender), { key })).split(' ');
      return status;
    });
    seen[sender] = (await Promise.all(statuses)).join(' ');
  }
  assert.deepEqual(seen, {
    'me@example.com': '2.0.0 5.7.1 2.0.0',
    'x@example.org': '2.0.0 5.7.1 2.0.0',
    'x@one.example': '5.7.1 2.0.0 5.7.1',
    'a@two.example': '5.7.1 2.0.0 5.7.1',
    'b@two.example': '5.7.1 5.7.1 5.7.1',
  });
  // The default sender is the administrator's word: the list of the key need not have it.
  const fields = { fix_sender: '1' };
  const fixed = await formPost(road.address, { key: 'own', msg: mail('c@x.example'), fields });
  assert.equal(fixed.status, 204);
});

test('a repeated post of a sent recipient keeps its verdict when the rules have changed (law 6)', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const repeat = async () => verdict(road, 'a@example.net', mail('a@example.net'), { id: 'one' });
  const first = await repeat();
  assert.match(first, /^2\.0\.0 /);
  await proxy.stop();
  await road.proxy(['--allow-sender', '@example.com']);
  assert.equal(await repeat(), first);
  assert.match(await verdict(road, 'a@example.net', mail('a@example.net')), /^5\.7\.1 /);
});

test('invalid rules end the proxy at its start with 78, and say so', async (t) => {
  const road = new Road(t);
  const keys = join(road.folder, 'keys');
  writeFileSync(keys, '# allow-sender example.com\na key\n');
  const dangling = join(road.folder, 'dangling');
  writeFileSync(dangling, 'a key\n# allow-sender @example.com\n');
  const slip = join(road.folder, 'slip');
  writeFileSync(slip, '# allow-sender: @example.com\na key\n');
  const cases: [args: string[], sentence: RegExp][] = [
    [
      ['--keys-file', slip],
      /looks like # allow-sender ADDRESS, but is not: # allow-sender: @example\.com$/m,
    ],
    [['--allow-sender', 'example.com'], /and got "example\.com"$/m],
    [['--allow-sender', '@example.com', '--allow-sender', '@'], /and got "@"$/m],
    [['--allow-sender', '*@example.com'], /no wildcard: write @example\.com for a whole domain$/m],
    [['--allow-sender', ' , '], /names no address or @domain$/m],
    [['--default-sender', 'Me <me@>'], /--default-sender is not valid: the domain/],
    [
      ['--default-sender', 'a@example.com, b@example.com'],
      /not valid: it has more than one address/,
    ],
    [['--default-sender', 'a@example.com <b@example.com>'], /--default-sender is not valid: /],
    [['--default-sender', 'b@exa mple.org'], /--default-sender is not valid: /],
    [['--fix-sender'], /--fix-sender needs --default-sender or GMAIL_DEFAULT_SENDER$/m],
    [
      ['--keys-file', keys],
      /^appengine-mailer: # allow-sender above line \d+ of \S+ takes .* got "example\.com"$/m,
    ],
    [['--keys-file', dangling], /there is no key after the last # allow-sender of \S+$/m],
  ];
  for (const [args, sentence] of cases) {
    const options = { cwd: road.folder, env: { GMAIL_SECRET_KEY: road.key }, input: '' };
    const all = ['proxy', '--listen', '127.0.0.1:0', ...args];
    const { code, stderr } = await appengineMailer(t, all, options).ended;
    const isOfFile = args[0] === '--keys-file' || args[0] === '--fix-sender';
    assert.equal(code, isOfFile ? 78 : 64, stderr);
    assert.match(stderr, sentence);
  }
});
