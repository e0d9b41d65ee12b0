import assert from 'node:assert/strict';
import test from 'node:test';
import { certificate } from '../support/certificate.ts';
import { clock } from '../support/clock.ts';
import { Forwarder } from '../support/forwarder.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { until } from '../support/until.ts';

test(
  'a self-signed certificate is refused and the mail waits; --ca-file trusts it (law 5)',
  needs('openssl'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}, {}]);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const { key, cert, file } = await certificate(t, road.folder);
    const tls = await Forwarder.open(t, proxy.url, { key, cert });
    const env = { GMAIL_PROXY_URL: `https://127.0.0.1:${tls.port}/` };

    const refusing = road.drain([], env);
    await refusing.says(/try 2 failed/);
    assert.match(refusing.stderr, /no trusted TLS connection to the proxy: .*self-signed/);
    assert.equal(refusing.stderr.match(/attention: .*--ca-file/g)?.length, 1);
    assert.equal((await refusing.stop()).code, 0);
    assert.equal(proxy.posts.length, 0);
    for (const { state, attempts } of lookInto(road.spool).messages) {
      assert.deepEqual([state, attempts], ['queued', 0]);
    }

    const trusting = await road.drain(['--once', '--ca-file', file], env).ended;
    assert.equal(trusting.code, 0, trusting.stderr);
    assert.equal(lookInto(road.spool).counters.sent, 2);
  },
);

// dma #30: trouble with the server's certificate or the password bounced mail.
test(
  'a trusted certificate for another name is refused, and so is one out of date (law 5)',
  needs('openssl', 'faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const { key, cert, file } = await certificate(t, road.folder, 'proxy.example.org');
    const tls = await Forwarder.open(t, proxy.url, { key, cert });

    const other = { GMAIL_PROXY_URL: `https://localhost:${tls.port}/` };
    const named = await road.drain(['--once', '--ca-file', file], other).ended;
    assert.equal(named.code, 69);
    assert.match(named.stderr, /no trusted TLS connection .*attention: .*certificate/s);

    const late = { GMAIL_PROXY_URL: `https://127.0.0.1:${tls.port}/`, ...clock('+9d') };
    const expired = await road.drain(['--once', '--ca-file', file], late).ended;
    assert.equal(expired.code, 69);
    assert.match(expired.stderr, /no trusted TLS connection .*expired.*attention: .*certificate/s);
    assert.equal(proxy.posts.length, 0);
    assert.deepEqual(
      lookInto(road.spool).messages.map(({ attempts }) => attempts),
      [0],
    );
  },
);

test('a server that does not speak TLS is a fault the operator is told of (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const { code, stderr } = await road.drain(['--once'], {
    GMAIL_PROXY_URL: proxy.url.replace('http:', 'https:'),
  }).ended;
  assert.equal(code, 69);
  assert.match(stderr, /does not speak TLS.*attention: /s);
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ attempts }) => attempts),
    [0],
  );
});

test(
  'the certificates of all proxies are metrics, and that of one which is not named any more is not',
  needs('openssl', 'faketime'),
  async (t) => {
    const road = new Road(t);
    const { key, cert, file } = await certificate(t, road.folder);
    const open = async () => {
      const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
      return Forwarder.open(t, proxy.url, { key, cert });
    };
    const [first, second] = [await open(), await open()];
    const hosts = [first, second].map(({ port }) => `127.0.0.1:${port}`);
    const shown = async () => {
      const { stdout } = await road.queue('metrics');
      const found = stdout
        .toString()
        .matchAll(/certificate_expiry_timestamp_seconds\{host="(\S+)"\} (\d+)/g);
      return Array.from(found, ([, host, at]) => {
        assert.ok(Number(at) > Date.now() / 1000);
        return host;
      });
    };
    /** Works until these certificates are shown; a minute takes a second. */
    const workFor = async (named: readonly string[], expected: readonly string[]) => {
      handIn(road.spool, [{}]);
      const GMAIL_PROXY_URL = named.map((host) => `https://${host}/`).join(' ');
      const env = { GMAIL_PROXY_URL, ...clock('+0 x60') };
      const drain = road.drain(['--ca-file', file], env);
      let found: readonly (string | undefined)[] = [];
      await until(
        async () => {
          found = await shown();
          return found.length === expected.length && expected.every((host) => found.includes(host));
        },
        () => `${found.join()} is shown, and not ${expected.join()}`,
      );
      await drain.stop();
    };
    await workFor(hosts.slice(1), hosts.slice(1));
    await workFor(hosts, hosts);
    await workFor(hosts.slice(0, 1), hosts.slice(0, 1));
  },
);
