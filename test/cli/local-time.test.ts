import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';

const QUEUED_AT = Date.parse('2026-01-02T03:04:05.678Z');

/** Where the reader is, and what the clock on the wall shows there when the message is queued. */
const places: [zone: string, shown: string][] = [
  ['UTC', '2026-01-02 03:04:05 +0000'],
  ['Europe/Berlin', '2026-01-02 04:04:05 +0100'],
  ['Asia/Kolkata', '2026-01-02 08:34:05 +0530'],
  ['America/St_Johns', '2026-01-01 23:34:05 -0330'],
];

test('times for people are local, with the offset and without milliseconds; JSON has UTC', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{}], { queuedAt: QUEUED_AT });
  await road.drain(['--once']).ended; // Nobody listens there: the proxy is down.
  const ask = async (TZ: string, ...words: string[]) => {
    const args = ['queue', ...words, '--spool', road.spool];
    const { code, stdout, stderr } = await appengineMailer(t, args, { env: { TZ } }).ended;
    assert.equal(code, 0, stderr);
    return stdout.toString();
  };
  for (const [zone, shown] of places) {
    const offset = shown.split(' ')[2] ?? '';
    const texts = [await ask(zone, 'show', id), await ask(zone, 'explain', id)];
    for (const text of texts) {
      assert.ok(text.includes(shown), `${zone}: ${text}`);
      assert.doesNotMatch(text, /\d\dT\d\d|\d\d:\d\d:\d\d[.Z]/, zone);
      const offsets = [...text.matchAll(/\d\d:\d\d:\d\d (\S+)/g)].map(([, found]) => found);
      assert.ok(
        offsets.length > 1 && offsets.every((found) => found?.replace(/\D+$/, '') === offset),
      );
    }
    const json = JSON.parse(await ask(zone, 'explain', id, '--json')) as Record<string, unknown>;
    assert.equal(json['queued_at'], '2026-01-02T03:04:05.678Z');
    assert.match(
      String(json['why']),
      /^the proxy has been down since \d{4}-\d\d-\d\dT[\d:.]+Z \(for/,
    );
  }
});

test('nobody is told milliseconds: what is new is a second old', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const { stdout } = await road.queue('list');
  assert.match(stdout.toString(), /^ {2}\d+ (?:s|min) old, /m);
});
