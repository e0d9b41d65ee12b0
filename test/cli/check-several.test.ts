import assert from 'node:assert/strict';
import test from 'node:test';
import { severalProxies } from '../../src/cli/check/several-proxies.ts';
import { Connection } from '../../src/wire/connection.ts';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';

test('check looks at each proxy, names its URL, and says that their ledgers are their own', async (t) => {
  const [road, other] = [new Road(t), new Road(t)];
  await road.proxy();
  await other.proxy();
  const urls = [road, other].map(({ address }) => `http://${address}/`);
  const words = ['check', '--spool', road.spool, '--proxy-url', urls.join(' ')];
  const env = { GMAIL_SECRET_KEY: road.key };
  const text = (await appengineMailer(t, words, { env }).ended).stdout.toString();
  for (const url of urls) {
    assert.ok(text.includes(`proxy: ${url} answers`), text);
    assert.ok(text.includes(`signature: ${url}: the proxy takes our key`), text);
  }
  assert.match(text, /^NOTE {2}ledger: the proxies have ledgers of their own: a message whose/m);
});

for (const [ledgers, isOk, said] of [
  [['shared', 'shared'], true, /share one ledger/],
  [['shared', null], false, /not every proxy has told/],
  [['shared', undefined], false, /not every proxy has told/],
] as const) {
  test(`proxies with the ledgers ${ledgers.map(String).join(' and ')}: ${said.source}`, () => {
    const connections = ledgers.map((ledger, nth) => {
      const url = new URL(`https://${nth}.example/`);
      const connection = new Connection({ url, key: Buffer.from('a key') });
      connection.ledger = ledger;
      return connection;
    });
    const found = severalProxies(connections, [[], []]).at(-1);
    assert.match(found?.text ?? '', said);
    assert.equal(found?.todo === null, isOk);
  });
}
