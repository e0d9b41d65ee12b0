import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import type { Program } from '../support/program.ts';
import { assertGoodMetrics, valueOf } from '../support/promtool.ts';
import { Road } from '../support/road.ts';
import { scrape } from '../support/scrape.ts';
import { until } from '../support/until.ts';

const METRICS = ['--metrics', '0'];

/** A road whose proxy has the key of this host, by the name web1, and one of another host. */
function namedRoad(t: TestContext): { road: Road; keys: readonly string[] } {
  const road = new Road(t);
  const file = join(road.folder, 'keys');
  writeFileSync(file, `# name web1\n${road.key}\n# name idle\nthe key of another host\n`, {
    mode: 0o600,
  });
  return { road, keys: ['--keys-file', file] };
}

/** HOST:PORT at which a program serves its metrics. */
async function servedAt(program: Program): Promise<string> {
  const [, address = ''] = await program.says(/metrics are served at http:\/\/(\S+)\/metrics/);
  return address;
}

async function metricsAt(address: string, accept = 'text/plain'): Promise<string> {
  const response = await fetch(`http://${address}/metrics`, { headers: { accept } });
  assert.equal(response.status, 200);
  return response.text();
}

/** The metrics once one of them has this value: what is served may be `viewEveryMs` old. */
async function metricsOnce(address: string, series: string, value: number): Promise<string> {
  let text = '';
  const hasIt = async () => valueOf((text = await metricsAt(address)), series) === value;
  await until(hasIt, () => `${series} ${value} in:\n${text}`);
  return text;
}

async function sendAll(road: Road): Promise<void> {
  const { code } = await road.drain(['--once']).ended;
  assert.equal(code, 0);
}

test(
  'the proxy serves what each key posted, what became of it, and what waits at its host, also after a restart',
  needs('prometheus'),
  async (t) => {
    const { road, keys } = namedRoad(t);
    const proxy = await road.proxy([...METRICS, ...keys]);
    const before = await servedAt(proxy);
    handIn(road.spool, [{ recipients: ['a@example.org', 'b@example.org', 'not an address'] }, {}], {
      queuedAt: Date.now() - 3_600_000,
    });
    await sendAll(road);
    const text = await metricsAt(before);
    await assertGoodMetrics(t, text);
    const expected = {
      'proxy_posts_total{key="web1"}': 2,
      'proxy_posts_total{key="idle"}': 0,
      'proxy_verdicts_total{key="web1",class="sent"}': 3,
      'proxy_verdicts_total{key="web1",class="failed"}': 1,
      'proxy_key_queue_messages{key="web1"}': 2,
      'proxy_key_queue_messages{key="idle"}': undefined,
      'proxy_key_last_seen_timestamp_seconds{key="idle"}': undefined,
      'proxy_backend_up{backend="file"}': 1,
      proxy_unknown: 0,
      proxy_keys: 2,
    };
    for (const [series, value] of Object.entries(expected)) {
      assert.equal(valueOf(text, series), value, series);
    }
    const now = Date.now() / 1000;
    const seenAt = valueOf(text, 'proxy_key_last_seen_timestamp_seconds{key="web1"}') ?? 0;
    assert.ok(now - seenAt < 60, `${seenAt}`);
    const oldest = valueOf(text, 'proxy_key_oldest_queued_timestamp_seconds{key="web1"}') ?? 0;
    assert.ok(Math.abs(now - 3600 - oldest) < 60, `${oldest}`);
    assert.doesNotMatch(text, /@|example/);

    proxy.child.kill('SIGTERM');
    await proxy.ended;
    const again = await servedAt(await road.proxy([...METRICS, ...keys]));
    const kept = await metricsAt(again);
    for (const [series, value] of Object.entries(expected)) {
      assert.equal(valueOf(kept, series), value, `${series} after a restart`);
    }
  },
);

test('a proxy that is killed has kept every figure that it has shown', async (t) => {
  const { road, keys } = namedRoad(t);
  const proxy = await road.proxy([...METRICS, ...keys]);
  const address = await servedAt(proxy);
  handIn(road.spool, [{}, {}]);
  await sendAll(road);
  const shown = await metricsAt(address);
  proxy.child.kill('SIGKILL');
  await proxy.ended;
  const kept = await metricsAt(await servedAt(await road.proxy([...METRICS, ...keys])));
  for (const [, series = '', value] of shown.matchAll(
    /^appengine_mailer_(\S+_total\S*) (\d+)$/gm,
  )) {
    assert.ok((valueOf(kept, series) ?? -1) >= Number(value), series);
  }
  assert.equal(valueOf(kept, 'proxy_posts_total{key="web1"}'), 2);
});

test('the Prometheus of Debian scrapes a proxy and a drain', needs('prometheus'), async (t) => {
  const { road, keys } = namedRoad(t);
  const proxy = await road.proxy([...METRICS, ...keys]);
  const drain = road.drain(METRICS);
  const ask = await scrape(t, [await servedAt(proxy), await servedAt(drain)]);
  const values = async (name: string) =>
    (await ask(`appengine_mailer_${name}`)).map(({ value }) => value);
  assert.deepEqual(await values('drain_up'), ['1']);
  assert.deepEqual(await values('proxy_keys'), ['2']);
  assert.deepEqual(await values('messages_total{event="accepted"}'), ['0']);
});

test('drain serves the metrics of its queue, in OpenMetrics to those who ask for it, and nothing else', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const drain = road.drain(METRICS);
  const address = await servedAt(drain);
  assert.match(address, /^127\.0\.0\.1:/);
  const text = await metricsAt(address, 'application/openmetrics-text; version=1.0.0');
  assert.match(text, /^appengine_mailer_drain_up 1$/m);
  assert.match(text, /# EOF\n$/);
  for (const [path, method, status] of [
    ['/metrics', 'HEAD', 200],
    ['/metrics', 'POST', 405],
    ['/else', 'GET', 404],
  ] as const) {
    const response = await fetch(`http://${address}${path}`, { method });
    assert.equal(response.status, status, path);
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
  }
  drain.child.kill('SIGTERM');
  assert.equal((await drain.ended).code, 0);
});

test('where another program has the port, mail goes on without metrics', async (t) => {
  const road = new Road(t);
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  t.after(() => other.close());
  const { port } = other.address() as { port: number };
  await road.proxy();
  handIn(road.spool, [{}]);
  const drain = road.drain(['--metrics', String(port)]);
  await drain.says(/metrics cannot be served at 127\.0\.0\.1:\d+: .*EADDRINUSE/);
  await drain.says(/attempt 1: .* sent/);
});

test(
  'proxies that share a ledger count each for itself, also after a restart, and show the same unknown recipients',
  needs('postgres'),
  async (t) => {
    const { road, keys } = namedRoad(t);
    const server = await PostgresServer.start(t);
    const ledger = await server.database('figures');
    const other = await servedAt(await road.proxy([...METRICS, ...keys], {}, ledger));
    road.address = '127.0.0.1:1';
    const proxy = await road.proxy([...METRICS, ...keys], {}, ledger);
    handIn(road.spool, [{}, {}]);
    await sendAll(road);
    const posts = 'proxy_posts_total{key="web1"}';
    assert.equal(valueOf(await metricsAt(await servedAt(proxy)), posts), 2);
    assert.equal(valueOf(await metricsAt(other), posts), 0);
    await server.query(
      `INSERT INTO unknown (message, address, at, reason, listed_at)
         SELECT 'id', 'a@b', observed_ms, 'so', 0 FROM clock`,
      [],
      'figures',
    );
    proxy.child.kill('SIGKILL');
    await proxy.ended;
    const again = await servedAt(await road.proxy([...METRICS, ...keys], {}, ledger));
    for (const [address, count] of [
      [again, 2],
      [other, 0],
    ] as const) {
      const text = await metricsOnce(address, 'proxy_unknown', 1);
      assert.equal(valueOf(text, posts), count);
      assert.ok(valueOf(text, 'proxy_key_last_seen_timestamp_seconds{key="web1"}'));
      const page = await (await fetch(`http://${address}/`)).text();
      assert.match(page, /unknown recipients<\/dt>\s*<dd class="bad">1</);
    }

    await server.kill();
    handIn(road.spool, [{}]);
    await road.drain(['--once']).ended;
    const away = await metricsOnce(again, 'proxy_backend_up{backend="file"}', 0);
    assert.equal(valueOf(away, posts), 2, 'the last that the ledger has told');
  },
);
