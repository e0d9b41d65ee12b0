import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { Spool } from '../../src/spool/spool.ts';
import { account } from '../support/account.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { done, drainOnce, makeSpool, queueOf } from '../support/queues.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

/** Two queues and a file between them. */
function twoQueues(t: TestContext) {
  const road = new Road(t);
  const from = road.spool;
  new Spool(from, 'drain').close();
  return { road, from, to: makeSpool(join(road.folder, 'to')), file: join(road.folder, 'file') };
}

const statesIn = (spool: string) => readSpool(spool).map(({ state }) => state);

/** The recipients of all messages that a relay got. */
const sentTo = ({ messages }: ScriptedSmtp) =>
  messages.flatMap(({ envelope }) => envelope.slice(1)).toSorted();

async function relayed(t: TestContext, road: Road): Promise<ScriptedSmtp> {
  const smtp = await ScriptedSmtp.start(t, {
    RCPT: (line) =>
      line.includes('<bad')
        ? '550 5.1.1 no'
        : line.includes('<later')
          ? '450 4.2.1 later'
          : '250 ok',
  });
  const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
  await road.proxy(['--backend', 'smtp', ...relay, '--smtp-security', 'none']);
  return smtp;
}

test('a queue moves to another machine: each recipient is sent once, with the id, the bytes and what was held (law 3, law 6, law 8)', async (t) => {
  const { road, from, to, file } = twoQueues(t);
  const bytes = Buffer.concat([
    Buffer.from('Subject: x\n\n\0\r\xff', 'latin1'),
    Buffer.alloc(3e6, 'l\n'),
  ]);
  const [held = ''] = handIn(from, [
    { recipients: ['held@example.org'], sender: '' },
    { recipients: ['a@example.org', 'ü@exämple.org', '\udcff@x'], bytes },
    { recipients: ['b@example.org'], bytes: '' },
  ]);
  await done(t, from, 'hold', held);
  const before = readSpool(from);
  assert.match(
    await done(t, from, 'export', file),
    /^exported 3 messages for 5 recipients into .*held here until you run `queue export --confirm .*--take-back/,
  );
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(statesIn(from), ['held', 'held', 'held']);

  // Nobody sends, releases or removes them here meanwhile.
  const smtp = await relayed(t, road);
  await drainOnce(road, from);
  for (const verb of ['release', 'delete', 'bounce']) {
    const { code, stderr } = await queueOf(t, from, [verb, '--all']);
    assert.deepEqual(
      [code, /3 messages in a file of `queue export`/.test(stderr)],
      [1, true],
      stderr,
    );
  }
  assert.match(await done(t, from, 'explain', held), /why: it was exported into .*file/);

  assert.match(await done(t, to, 'import', file), /^imported 3 messages, 1 of them held; 0 /);
  assert.deepEqual(readSpool(to), before);
  assert.match(
    await done(t, from, 'export', '--confirm', file),
    /^removed 3 messages from this queue/,
  );
  assert.deepEqual(statesIn(from), ['deleted', 'deleted', 'deleted']);
  assert.match(await done(t, from, 'export', '--confirm', file), /^removed 0 messages/);
  assert.match(await done(t, to, 'import', file), /^imported no messages/);
  assert.match(await done(t, from, 'import', file), /^imported no messages.*from this queue/);

  for (const spool of [from, to]) await drainOnce(road, spool);
  await done(t, to, 'release', held);
  await drainOnce(road, to);
  assert.deepEqual(
    sentTo(smtp).map((line) => Buffer.from(line, 'latin1').toString()),
    ['a', 'b', 'held', 'ü'].map(
      (name) => `RCPT TO:<${name}@${name === 'ü' ? 'exämple' : 'example'}.org>`,
    ),
  );
  lookInto(from);
  lookInto(to);
});

test('what was sent, or may have been, before it was exported is not sent again: the ledger knows its id (law 6)', async (t) => {
  const { road, from, to, file } = twoQueues(t);
  const smtp = await relayed(t, road);
  handIn(from, [{ recipients: ['a@example.org', 'later@example.org', 'bad@example.org'] }]);
  await drainOnce(road, from);
  await done(t, from, 'export', file);
  await done(t, to, 'import', file);
  // Only who is pending goes; who failed is reported by the queue in which he failed, and by no other.
  assert.deepEqual(
    readSpool(to).map(({ recipients }) => recipients),
    [[{ address: 'later@example.org', state: 'pending' }]],
  );
  await done(t, from, 'export', '--confirm', file);
  assert.deepEqual(statesIn(from), ['failed']);
  smtp.script = {};
  await drainOnce(road, to);
  assert.deepEqual(sentTo(smtp), ['RCPT TO:<a@example.org>', 'RCPT TO:<later@example.org>']);
});

test('a file that was taken back is sent from here, once, and cannot be confirmed (law 6, law 7)', async (t) => {
  const { road, from, file } = twoQueues(t);
  const [held = ''] = handIn(from, [{}, { recipients: ['a@example.org'] }]);
  await done(t, from, 'hold', held);
  await done(t, from, 'export', file);
  assert.match(await done(t, from, 'export', '--take-back', file), /^took back 2 messages;/);
  assert.deepEqual(statesIn(from), ['held', 'queued']);
  const { code, stderr } = await queueOf(t, from, ['export', '--confirm', file]);
  assert.equal(code, 1);
  assert.match(stderr, /was taken back/);
  const smtp = await relayed(t, road);
  await drainOnce(road, from);
  assert.deepEqual(sentTo(smtp), ['RCPT TO:<a@example.org>']);
  // And what was confirmed cannot be taken back.
  await done(t, from, 'release', held);
  await done(t, from, 'export', `${file}2`);
  await done(t, from, 'export', '--confirm', `${file}2`);
  assert.match(
    (await queueOf(t, from, ['export', '--take-back', `${file}2`])).stderr,
    /was confirmed/,
  );
});

test('the filters of list choose what is exported; what no message fits leaves no file', async (t) => {
  const { from, file } = twoQueues(t);
  handIn(from, [
    { sender: 'a@one.example' },
    { sender: 'b@two.example', recipients: ['x@three.example'] },
  ]);
  await done(t, from, 'export', file, '--recipient', '@three.example');
  assert.deepEqual(statesIn(from), ['queued', 'held']);
  const none = await queueOf(t, from, ['export', `${file}2`, '--sender', '@nowhere.example']);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no message matches/);
  assert.equal(existsSync(`${file}2`), false);
  assert.equal((await queueOf(t, from, ['export', `${file}2`, '--state', 'failed'])).code, 64);
  await done(t, from, 'export', `${file}2`, '--sender', '@one.example', '--older-than', '0s');
  assert.deepEqual(statesIn(from), ['held', 'held']);
});

test('what is being sent is exported when its outcome is known, for who is pending then (law 6)', async (t) => {
  const { road, from, to, file } = twoQueues(t);
  handIn(from, [{ recipients: ['a@example.org', 'b@example.org'] }]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  road.drain([], { GMAIL_PROXY_URL: proxy.url });
  const [post] = await proxy.received(1);
  const exporting = queueOf(t, from, ['export', file]);
  assert.ok(post);
  // It must not end before the outcome; there is no event that says that it waits.
  assert.equal(
    await Promise.race([exporting, new Promise((end) => setTimeout(end, 500, 'waits'))]),
    'waits',
  );
  post.answer((recipient) =>
    recipient.startsWith('a')
      ? { status: '2.0.0', reason: 'ok' }
      : { status: '4.2.2', reason: 'full' },
  );
  assert.equal((await exporting).code, 0);
  await done(t, to, 'import', file);
  assert.deepEqual(
    readSpool(to).map(({ recipients }) => recipients),
    [[{ address: 'b@example.org', state: 'pending' }]],
  );
});

test('a message that moves there and back again is here once, also when the first file was not confirmed (law 6, law 7)', async (t) => {
  for (const confirmed of [true, false]) {
    const { road, from, to, file } = twoQueues(t);
    const smtp = await relayed(t, road);
    handIn(from, [{ recipients: ['a@example.org', 'later@example.org'] }]);
    await done(t, from, 'export', file);
    await done(t, to, 'import', file);
    if (confirmed) await done(t, from, 'export', '--confirm', file);
    await drainOnce(road, to); // a is sent from there.
    await done(t, to, 'export', `${file}2`);
    assert.match(await done(t, from, 'import', `${file}2`), /^imported 1 message,/);
    await done(t, to, 'export', '--confirm', `${file}2`);
    // Too late, or once more.
    await done(t, from, 'export', '--confirm', file);
    for (const again of [file, `${file}2`]) {
      await done(t, from, 'import', again);
      await done(t, to, 'import', again);
    }
    smtp.script = {};
    for (const spool of [to, from]) await drainOnce(road, spool);
    assert.deepEqual(sentTo(smtp), ['RCPT TO:<a@example.org>', 'RCPT TO:<later@example.org>']);
    assert.deepEqual(
      readSpool(from)[0]?.recipients.map(({ state }) => state),
      ['deleted', 'sent'],
    );
  }
});

test('law 2: what Exim handed over to the other queue too is imported for nobody who is known there', async (t) => {
  const { road, from, to, file } = twoQueues(t);
  const input = Buffer.from('MAIL FROM:<s@x>\nRCPT TO:<a@x>\nRCPT TO:<b@x>\nDATA\nx\n.\n');
  await road.pipe('1abc', input);
  await done(t, from, 'export', file);
  handInAs(to, from);
  assert.match(await done(t, to, 'import', file), /^imported 1 message,/);
  assert.deepEqual(
    readSpool(to).map(({ recipients }) => recipients.map(({ address }) => address)),
    [['a@x'], ['b@x']],
  );
});

/** Hands the first message of a spool over to another for its first recipient, as its Exim would. */
function handInAs(to: string, from: string): void {
  const db = new Spool(from, 'operator');
  const other = new Spool(to, 'pipe');
  const row = db.db.prepare('SELECT exim_id, digest, sender, size FROM message').get() as Record<
    string,
    unknown
  >;
  other.db
    .prepare(
      `INSERT INTO message (id, exim_id, digest, sender, size, state, queued_at, due_at, renewed_at, outage_ms)
       VALUES ('${'0'.repeat(32)}', :exim_id, :digest, :sender, :size, 'queued', 1, 1, 1, 0)`,
    )
    .run(row);
  other.db.exec(`INSERT INTO body VALUES (1, 0, CAST('x' || char(10) AS BLOB));
    INSERT INTO recipient (message, position, address) VALUES (1, 0, CAST('a@x' AS BLOB))`);
  db.close();
  other.close();
}

test('an old file is imported, and held: the proxy may have forgotten what it sent (law 6, law 12)', async (t) => {
  const { from, to, file } = twoQueues(t);
  const [id = ''] = handIn(from, [{}]);
  await done(t, from, 'export', file);
  resign(file, (text) =>
    text.replace(/"exported_at":(\d+)/, (_, at) => `"exported_at":${Number(at) - 26 * 86_400_000}`),
  );
  const { code, stdout, stderr } = await queueOf(t, to, ['import', file]);
  assert.deepEqual([code, /1 of them held/.test(String(stdout))], [1, true], stderr);
  assert.match(stderr, /26 d old/);
  const release = await queueOf(t, to, ['release', id]);
  assert.match(release.stderr, /--force/);
  // A clock that is behind holds nothing and makes nothing due earlier than now.
  const other = makeSpool(join(to, '..', 'other'));
  resign(file, (text) => text.replace(/"exported_at":(\d+)/, '"exported_at":9000000000000'));
  await done(t, other, 'import', file);
  assert.deepEqual(statesIn(other), ['queued']);
});

/** Changes a file and gives it the checksum that it has then. */
function resign(file: string, change: (text: string) => string): void {
  const text = change(readFileSync(file, 'latin1'));
  const end = text.lastIndexOf('{"messages"');
  const sum = createHash('sha256').update(text.slice(0, end), 'latin1').digest('hex');
  const last = text.slice(end).replace(/"sha256":"\w*"/, `"sha256":"${sum}"`);
  writeFileSync(file, text.slice(0, end) + last, 'latin1');
}

test('of a file that is not whole, or was changed, nothing is imported and nothing confirmed', async (t) => {
  const { from, to, file } = twoQueues(t);
  handIn(from, [{ bytes: 'Subject: one\n\nx\n' }, { bytes: 'Subject: two\n\ny\n' }]);
  await done(t, from, 'export', file);
  const whole = readFileSync(file, 'latin1');
  const bad = join(to, '..', 'bad');
  const changed: [what: string, text: string][] = [
    ['empty', ''],
    ['another format', whole.replace('queue 1', 'queue 2')],
    ['without its last byte', whole.slice(0, -1)],
    ['with another byte', whole.replace('Subject: two', 'Subject: twO')],
    ['with more behind', `${whole}x`],
    ['twice', whole + whole],
    ['a null byte in its JSON', whole.replace('"held"', '"he\0ld"')],
  ];
  for (let cut = 1; cut < 12; cut += 1) {
    const end = Math.floor((whole.length * cut) / 12);
    changed.push([`cut at ${end}`, whole.slice(0, end)]);
  }
  // What a hostile file says with a sound checksum.
  const lies: [string, (text: string) => string][] = [
    ['an invalid id', (text) => text.replace(/"id":"\w\w/, '"id":"..')],
    ['a huge size', (text) => text.replace(/"size":\d+/, '"size":9007199254740991')],
    ['a negative size', (text) => text.replace(/"size":\d+/, '"size":-1')],
    ['a huge count', (text) => text.replace(/"recipients":1/, '"recipients":1e15')],
    ['nobody', (text) => text.replace(/"recipients":1/, '"recipients":0')],
    ['an Exim id that is a path', (text) => text.replace(/"exim_id":"[^"]*/, '"exim_id":"../x')],
    ['a digest of other bytes', (text) => text.replace(/"digest":"../, '"digest":"ff')],
    [
      'an invalid status',
      (text) =>
        text.replace(
          '"last_status":null,"last_reason":null',
          '"last_status":"x","last_reason":"y"',
        ),
    ],
    [
      'an address with a line end',
      (text) => text.replace(/\n[\w+/=]+\nSubject/, '\nYQpi\nSubject'),
    ],
    ['a long line', (text) => text.replace('"held"', `"${'x'.repeat(200_000)}":1,"held"`)],
    ['a message too many', (text) => text.replace('"messages":2', '"messages":1')],
    ['an array', (text) => text.replace(/\{"id".*\}/, '[1]')],
  ];
  for (const [what, lie] of lies) {
    writeFileSync(bad, whole, 'latin1');
    resign(bad, lie);
    const text = readFileSync(bad, 'latin1');
    assert.notEqual(text, whole, what);
    changed.push([what, text]);
  }
  for (const [what, text] of changed) {
    writeFileSync(bad, text, 'latin1');
    for (const [spool, ...args] of [
      [to, 'import', bad],
      [from, 'export', '--confirm', bad],
    ] as [string, ...string[]][]) {
      const { code, stderr } = await queueOf(t, spool, args);
      assert.equal(code, 1, `${what}: ${stderr}`);
      assert.match(stderr, /not a whole file/, what);
      if (what.startsWith('cut at')) assert.match(stderr, /it ends too early/, what);
    }
  }
  assert.deepEqual(statesIn(to), []);
  assert.deepEqual(statesIn(from), ['held', 'held']);
});

test('no file is written over, no link is followed, and only files are read', async (t) => {
  const { road, from, to, file } = twoQueues(t);
  handIn(from, [{}]);
  writeFileSync(file, 'mine');
  symlinkSync(file, `${file}-link`);
  const existing = await queueOf(t, from, ['export', file]);
  assert.deepEqual([existing.code, /not overwritten/.test(existing.stderr)], [1, true]);
  assert.equal((await queueOf(t, from, ['export', `${file}-link`])).code, 1);
  assert.equal(readFileSync(file, 'utf8'), 'mine');
  assert.equal((await queueOf(t, from, ['export', join(road.folder, 'no', 'file')])).code, 1);
  assert.deepEqual(statesIn(from), ['queued']);
  for (const bad of [`${file}-link`, road.folder, '/dev/zero', join(road.folder, 'none')]) {
    assert.notEqual((await queueOf(t, to, ['import', bad])).code, 0, bad);
  }
});

test('a damaged message stays, and the others go (law 7)', async (t) => {
  const { from, to, file } = twoQueues(t);
  const [id] = handIn(from, [{}, {}]);
  const spool = new Spool(from, 'operator');
  spool.db.exec(`UPDATE body SET bytes = x'00' WHERE message = 1`);
  spool.close();
  const { code, stderr } = await queueOf(t, from, ['export', file]);
  assert.deepEqual([code, /1 message not exported.*damaged/.test(stderr)], [74, true], stderr);
  await done(t, to, 'import', file);
  assert.deepEqual(
    lookInto(from).messages.map((each) => [each.id === id, each.state]),
    [
      [true, 'queued'],
      [false, 'held'],
    ],
  );
});

test(
  'root exports into a folder of its own and imports from there, and opens nothing in one of others (law 14)',
  needs('root'),
  async (t) => {
    const { road, from, to } = twoQueues(t);
    const { uid, gid } = account();
    handIn(from, [{ recipients: ['a@example.org'] }]);
    chmodSync(road.folder, 0o711);
    for (const spool of [from, to]) {
      for (const name of ['', 'spool.db', 'spool.db-wal', 'spool.db-shm', 'drain.lock']) {
        if (existsSync(join(spool, name))) chownSync(join(spool, name), uid, gid);
      }
      chmodSync(spool, 0o2770);
    }
    const own = '/root/appengine-mailer-test';
    mkdirSync(own, { recursive: true, mode: 0o700 });
    t.after(() => rmSync(own, { recursive: true, force: true }));
    const file = join(own, `export-${process.pid}`);
    await done(t, from, 'export', file);
    assert.deepEqual([statSync(file).uid, statSync(file).mode & 0o777], [0, 0o600]);
    assert.match(await done(t, to, 'import', file), /^imported 1 message,/);
    assert.match(
      await done(t, from, 'export', '--confirm', file),
      /^removed 1 message from this queue/,
    );
    await done(t, to, 'export', `${file}2`);
    assert.match(await done(t, to, 'export', '--take-back', `${file}2`), /^took back 1 message;/);
    // Nothing is left behind by an export of nothing.
    assert.match(await done(t, from, 'export', `${file}3`), /no message/);
    assert.equal(existsSync(`${file}3`), false);
    // Others could exchange what root opens.
    const shared = join(road.folder, 'shared');
    mkdirSync(shared);
    chownSync(shared, uid, gid);
    copyFileSync(file, join(shared, 'file'));
    for (const args of [
      ['export', join(shared, 'new')],
      ['import', join(shared, 'file')],
    ]) {
      const { code, stderr } = await queueOf(t, to, args);
      assert.deepEqual([code, /root opens nothing in/.test(stderr)], [77, true], stderr);
    }
  },
);
