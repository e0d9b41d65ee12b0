import assert from 'node:assert/strict';
import test from 'node:test';
import { thisMachine, type Machine } from '../../src/host/machine.ts';
import type { HostPort, UnixPath } from '../../src/host/net/connect-socket.ts';
import { openChannel } from '../../src/host/net/open-channel.ts';
import { hostPort, webProxyFor, WebProxySettingError } from '../../src/host/net/web-proxy.ts';
import { needs } from '../support/needs.ts';
import { run } from '../support/program.ts';

/** Nothing listens on these: curl says where it goes, and fails. */
const https_proxy = 'http://127.0.0.2:3128';
const http_proxy = 'http://127.0.0.3:3128';
const all_proxy = 'http://127.0.0.4:3128';
const BY = '127.0.0.2:3128';

/** Which web proxy a URL is reached by, in an environment; undefined where by none. */
const rows: [url: string, environment: Record<string, string>, by: string | undefined][] = [
  ['https://a.example/', {}, undefined],
  ['https://a.example/', { https_proxy }, BY],
  ['https://a.example/', { HTTPS_PROXY: https_proxy }, BY],
  ['https://a.example/', { https_proxy, HTTPS_PROXY: http_proxy }, BY],
  ['https://a.example/', { https_proxy: '', HTTPS_PROXY: https_proxy }, BY],
  ['https://a.example/', { http_proxy }, undefined],
  ['https://a.example/', { https_proxy, http_proxy, all_proxy }, BY],
  ['https://a.example/', { all_proxy }, '127.0.0.4:3128'],
  ['http://a.example/', { ALL_PROXY: all_proxy }, '127.0.0.4:3128'],
  ['http://a.example/', { https_proxy }, undefined],
  ['http://a.example/', { http_proxy, all_proxy }, '127.0.0.3:3128'],
  ['http://a.example/', { HTTP_PROXY: http_proxy }, undefined],
  // Schemes and ports.
  ['https://a.example/', { https_proxy: '127.0.0.2:3128' }, BY],
  ['https://a.example/', { https_proxy: '127.0.0.2:3128/' }, BY],
  ['https://a.example/', { https_proxy: 'user:p%40ss@127.0.0.2:3128' }, BY],
  ['https://a.example/', { https_proxy: '127.0.0.2' }, '127.0.0.2:1080'],
  ['https://a.example/', { https_proxy: 'http://127.0.0.2' }, '127.0.0.2:1080'],
  ['https://a.example/', { https_proxy: 'http://127.0.0.2:80' }, '127.0.0.2:80'],
  ['https://a.example/', { https_proxy: 'HTTP://127.0.0.2:80/' }, '127.0.0.2:80'],
  ['https://a.example/', { https_proxy: 'https://127.0.0.2' }, '127.0.0.2:443'],
  ['http://a.example/', { http_proxy: 'https://127.0.0.2:8443/' }, '127.0.0.2:8443'],
  // Names.
  ['https://a.example/', { https_proxy, no_proxy: '*' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: 'b.example,*' }, BY],
  ['https://a.example/', { https_proxy, no_proxy: 'b.example, A.example' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: 'b.example .example' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: 'b.example .a.example' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: '', NO_PROXY: 'a.example' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: 'b.example', NO_PROXY: 'a.example' }, BY],
  ['https://a.b.example/', { https_proxy, NO_PROXY: '*.b.example' }, BY],
  ['https://a.b.example/', { https_proxy, no_proxy: 'b.example' }, undefined],
  ['https://ab.example/', { https_proxy, no_proxy: 'b.example' }, BY],
  ['https://a.example/', { https_proxy, no_proxy: 'a.example.' }, undefined],
  ['https://a.example./', { https_proxy, no_proxy: 'a.example' }, undefined],
  ['https://a.b.example./', { https_proxy, no_proxy: '.b.example.' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: 'a.example:443' }, BY],
  ['https://a.example:8443/', { https_proxy, no_proxy: 'a.example:8443' }, BY],
  // Addresses and networks.
  ['https://192.0.2.1/', { https_proxy, no_proxy: '192.0.2.1' }, undefined],
  ['https://192.0.2.1/', { https_proxy, no_proxy: '2.1' }, BY],
  ['https://192.0.2.1/', { https_proxy, no_proxy: 'a, 192.0.2.0/24' }, undefined],
  ['https://192.0.3.1/', { https_proxy, no_proxy: '192.0.2.0/24' }, BY],
  ['https://192.0.3.1/', { https_proxy, no_proxy: '192.0.2.0/23,a' }, undefined],
  ['https://192.0.2.1/', { https_proxy, no_proxy: '192.0.2.0/33' }, BY],
  ['https://a.example/', { https_proxy, no_proxy: '192.0.2.0/24' }, BY],
  ['https://[2001:db8::1]/', { https_proxy, no_proxy: '2001:db8::1' }, undefined],
  ['https://[2001:db9::1]/', { https_proxy, no_proxy: '2001:db8::/32' }, BY],
  ['https://[2001:db8::1]/', { https_proxy, no_proxy: '[2001:db8::1]' }, BY],
];

/** What curl(1) says too, and version 7.88 does not do. */
const documented: typeof rows = [
  ['https://[2001:db8::1]/', { https_proxy, no_proxy: '2001:DB8:0::1' }, undefined],
  ['https://[2001:db8::1]/', { https_proxy, no_proxy: '2001:db8::/32' }, undefined],
];

for (const [url, environment, by] of [...rows, ...documented]) {
  const title = `${url} with ${JSON.stringify(environment)} is reached by ${by ?? 'no web proxy'}`;
  test(title, () => {
    const proxy = webProxyFor(new URL(url), environment);
    const { host, port } = proxy ? hostPort(proxy.url) : {};
    assert.equal(proxy && `${host}:${port}`, by);
  });
}

test('the real curl goes the same ways', needs('curl'), async (t) => {
  const ways = rows.map(async ([url, env]) => {
    const direct = '127.0.0.9:9';
    const args = ['-q', '-sv', '--max-time', '20', '--connect-to', `::${direct}`, url];
    const command = ['-i', `PATH=${process.env['PATH']}`, ...pairs(env), 'curl', ...args];
    const { stderr } = await run(t, 'env', command);
    const [, to = stderr] = /Trying (127[\d.:]+?)(?:\.\.\.)?$/m.exec(stderr) ?? [];
    return [url, env, to === direct ? undefined : to];
  });
  assert.deepEqual(await Promise.all(ways), rows);
});

function pairs(environment: Record<string, string>): string[] {
  return Object.entries(environment).map(([name, value]) => `${name}=${value}`);
}

test('a variable that names no HTTP server is an error, which names it and does not show it', () => {
  for (const bad of ['socks5://secret@proxy', 'user:secret@', 'http://user:secret%@proxy', '://']) {
    for (const variable of ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY']) {
      assert.throws(
        () => webProxyFor(new URL('https://a.example/'), { [variable]: bad }),
        (error: Error) =>
          error instanceof WebProxySettingError &&
          error.message.startsWith(`${variable} is not an http(s) URL`) &&
          !error.message.includes('secret'),
      );
    }
  }
});

test('the connection to a web proxy is opened by the machine that is handed in', async () => {
  const asked: (HostPort | UnixPath)[] = [];
  const machine: Machine = {
    ...thisMachine,
    connect: async (to) => {
      asked.push(to);
      throw new Error('no network here');
    },
  };
  const webProxy = { url: new URL(https_proxy), variable: 'https_proxy' };
  const opening = openChannel({ url: new URL('https://a.example/'), webProxy }, [], machine);
  await assert.rejects(opening, /no network here/);
  assert.deepEqual(asked, [{ host: '127.0.0.2', port: 3128 }]);
});
