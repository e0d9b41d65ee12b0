import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { fileBackend } from '../../src/proxy/backends/file.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { deliverWith } from '../support/send-with.ts';
import { scratch } from '../support/scratch.ts';
import { signedPost } from '../support/signed-post.ts';
import { until } from '../support/until.ts';

const recipients = ['ü@example.org', 'b@example.org', 'a@example.org'];

/** NAME of the contract: the id, and 8 digits of SHA-256 of the sorted recipients. */
function nameOf(id: string, addresses: string[]): string {
  const digest = createHash('sha256').update(addresses.toSorted().join('\n')).digest('hex');
  return `${id}-${digest.slice(0, 8)}`;
}

test('NAME.eml has the exact bytes, NAME.json id and envelope, and nothing else is left (law 3, law 4)', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const messages = {
    octets: Buffer.from(Array.from({ length: 256 }, (_, octet) => octet)),
    empty: Buffer.alloc(0),
    'line-ends': Buffer.from('a\rb\nc\r\n\r\r\n\n'),
    'no-end': Buffer.from('Bcc: hidden@example.org\nSubject: x\n\n.\n..\nno end'),
    'json-alike': Buffer.from('{"sender":"x","recipients":[]}\n'),
  };
  for (const [id, bytes] of Object.entries(messages)) {
    const { status } = await signedPost(road.address, {
      key: road.key,
      id,
      recipients,
      bytes,
      sender: '"q"@example.com',
    });
    assert.equal(status, 200);
    const file = join(road.delivered, nameOf(id, recipients));
    assert.deepEqual(readFileSync(`${file}.eml`), bytes);
    assert.deepEqual(JSON.parse(readFileSync(`${file}.json`, 'utf8')), {
      id,
      sender: '"q"@example.com',
      recipients,
    });
    assert.equal(statSync(`${file}.eml`).mode & 0o007, 0, 'mail is not for everybody');
  }
  const names = Object.keys(messages).flatMap((id) =>
    ['eml', 'json'].map((end) => `${nameOf(id, recipients)}.${end}`),
  );
  assert.deepEqual(readdirSync(road.delivered).toSorted(), names.toSorted());
});

test('the .json is there before the .eml, and a delivery that failed half-way is completed', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const post = { key: road.key, id: 'an-id', recipients };
  const name = nameOf('an-id', recipients);
  // A folder where the .eml belongs: the second file cannot be made.
  mkdirSync(join(road.delivered, `${name}.eml`));
  const failed = await signedPost(road.address, post);
  assert.equal(failed.status, 503);
  assert.equal(failed.headers['retry-after'], '10');
  assert.deepEqual(readdirSync(road.delivered).toSorted(), [`${name}.eml`, `${name}.json`]);
  rmdirSync(join(road.delivered, `${name}.eml`));
  assert.equal((await signedPost(road.address, post)).status, 200);
  assert.deepEqual(readdirSync(road.delivered).toSorted(), [`${name}.eml`, `${name}.json`]);
});

test('a repeat that the ledger does not know replaces the files', async (t) => {
  const road = new Road(t);
  const post = { key: road.key, id: 'an-id', recipients };
  const first = await road.proxy();
  await signedPost(road.address, post);
  const before = readdirSync(road.delivered);
  await first.stop();
  for (const end of ['', '-wal', '-shm'])
    rmSync(join(road.folder, `ledger.db${end}`), { force: true });
  await road.proxy();
  const again = { ...post, recipients: recipients.toReversed(), bytes: 'the second\n' };
  assert.equal((await signedPost(road.address, again)).status, 200);
  assert.deepEqual(
    readdirSync(road.delivered),
    before,
    'the order of recipients is not in the name',
  );
  assert.deepEqual(
    road.deliveries().map(({ bytes }) => bytes.toString()),
    ['the second\n'],
  );
});

test('a folder that cannot be written: 503 for drain, the mail waits, and arrives later (law 5)', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  handIn(road.spool, [{ recipients }]);
  // Not by its mode, which root would not mind.
  renameSync(road.delivered, `${road.delivered}.away`);
  writeFileSync(road.delivered, 'in the way');
  const { code, stderr } = await road.drain(['--once']).ended;
  assert.equal(code, 69);
  assert.match(stderr, /answered 503 "cannot deliver into .*ENOTDIR/);
  assert.match(proxy.stderr, /attention: no mail is taken: cannot deliver into/);
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
    [['queued', 0]],
  );
  rmSync(road.delivered);
  renameSync(`${road.delivered}.away`, road.delivered);
  assert.equal((await road.drain(['--once']).ended).code, 0);
  assert.deepEqual(
    road.deliveries().map((each) => each.recipients),
    [recipients],
  );
});

test('deliveries of the same at the same time do not disturb each other (law 3)', async (t) => {
  const folder = scratch(t);
  const backend = await fileBackend(folder);
  const bytes = Buffer.alloc(100_000, 'x\n');
  const delivery = { key: '', id: 'an-id', sender: '', recipients, bytes };
  await Promise.all(Array.from({ length: 20 }, async () => deliverWith(backend, delivery)));
  const name = nameOf('an-id', recipients);
  assert.deepEqual(readdirSync(folder).toSorted(), [`${name}.eml`, `${name}.json`]);
  assert.deepEqual(readFileSync(join(folder, `${name}.eml`)), bytes);
});

test('law 12: files that a proxy left half-written when it died are removed, and no others, whatever clocks say', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const folder = scratch(t);
  const name = nameOf('an-id', recipients);
  const [eml, json] = [`${name}.eml.0123456789abcdef.part`, `${name}.json.0123456789abcdef.part`];
  const another = `${name}.eml.fedcba9876543210.part`; // Of a proxy at work, with another ledger.
  const kept = [`${name}.eml`, `${name}.json`, 'film.part', `${name}.eml.part`];
  const write = (each: string, mtime: Date) => {
    writeFileSync(join(folder, each), 'x');
    utimesSync(join(folder, each), mtime, mtime);
  };
  const before = new Date(Date.now() - 20 * 86_400_000);
  for (const each of [eml, json, another, ...kept]) write(each, before);
  await fileBackend(folder);
  assert.deepEqual(readdirSync(folder).toSorted(), [eml, json, another, ...kept].toSorted());

  renameSync(join(folder, another), join(folder, `${name}.eml`));
  const next = `${name}.json.fedcba9876543210.part`;
  write(next, before);
  t.mock.timers.tick(limits.deliveryMs);
  t.mock.timers.reset();
  await until(
    () => !existsSync(join(folder, eml)) && !existsSync(join(folder, json)),
    () => 'they are still there',
  );
  assert.deepEqual(readdirSync(folder).toSorted(), [next, ...kept].toSorted());
});
