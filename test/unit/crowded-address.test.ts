import assert from 'node:assert/strict';
import test from 'node:test';
import { crowdedAddress } from '../../src/wire/crowded-address.ts';

const rows: [values: string[], crowded: string | undefined][] = [
  [['a@b.example, c@d.example'], undefined],
  [['a@b.example', 'b@exa mple.org , c@d.example'], 'b@exa mple.org'],
  [['a@b c@d'], 'a@b c@d'],
  [['Joe a@b.example; "x@y z" c@d.example'], undefined],
  [['Joe Doe <a b@c d>'], undefined],
  [['friends: a@b.example, b@exa mple.org;'], 'b@exa mple.org'],
  [['a@b.example (at (home, (near x@y z) now) again)'], undefined],
  [[String.raw`a@b.example (one \) two \( three)`], undefined],
  [['a@b.example (never closed, x@y z'], undefined],
  [['a@b.example(near)c'], 'a@b.example(near)c'],
  [['a@b.example (closed)) too often'], 'a@b.example (closed)) too often'],
];
for (const [values, crowded] of rows) {
  const title = crowded === undefined ? 'nothing' : `"${crowded}"`;
  test(`in ${JSON.stringify(values)} ${title} is an address with words behind it`, () =>
    assert.equal(crowdedAddress(values), crowded));
}

test('a header of open comments and escapes is looked through in no time', () => {
  for (const value of [
    `(${String.raw`\(`.repeat(500_000)}`,
    '('.repeat(1_000_000),
    '"('.repeat(500_000),
    '@'.repeat(1_000_000),
    'a@ '.repeat(300_000),
    `"${String.raw`\"`.repeat(500_000)}`,
  ]) {
    const before = process.cpuUsage().user;
    crowdedAddress([value]);
    const ms = (process.cpuUsage().user - before) / 1000;
    assert.ok(ms < 5000, `${value.slice(0, 5)}: ${ms} ms`);
  }
});
