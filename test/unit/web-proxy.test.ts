import assert from 'node:assert/strict';
import test from 'node:test';
import { webProxyFor, WebProxySettingError } from '../../src/host/web-proxy.ts';

const https_proxy = 'http://proxy.example:3128';

/** Which web proxy a URL is reached by, in an environment; undefined where by none. */
const rows: [url: string, environment: Record<string, string>, by: string | undefined][] = [
  ['https://a.example/', {}, undefined],
  ['https://a.example/', { https_proxy }, 'proxy.example:3128'],
  ['https://a.example/', { HTTPS_PROXY: https_proxy }, 'proxy.example:3128'],
  ['https://a.example/', { https_proxy: '', http_proxy: 'http://h' }, 'h'],
  ['https://a.example/', { https_proxy, http_proxy: 'http://h' }, 'proxy.example:3128'],
  ['http://a.example/', { https_proxy }, undefined],
  ['http://a.example/', { http_proxy: 'https://h:8443/' }, 'h:8443'],
  ['https://a.example/', { https_proxy, no_proxy: '*' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: 'b.example, A.example' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: 'b.example .example' }, undefined],
  ['https://a.b.example/', { https_proxy, NO_PROXY: '*.b.example' }, undefined],
  ['https://a.b.example/', { https_proxy, no_proxy: 'b.example' }, undefined],
  ['https://ab.example/', { https_proxy, no_proxy: 'b.example' }, 'proxy.example:3128'],
  ['https://a.example/', { https_proxy, no_proxy: 'a.example:443' }, undefined],
  ['https://a.example:8443/', { https_proxy, no_proxy: 'a.example:8443' }, undefined],
  ['https://a.example/', { https_proxy, no_proxy: 'a.example:8443' }, 'proxy.example:3128'],
  ['https://192.0.2.1/', { https_proxy, no_proxy: '192.0.2.1' }, undefined],
  ['https://[2001:db8::1]/', { https_proxy, no_proxy: '[2001:db8::1]' }, undefined],
];
for (const [url, environment, by] of rows) {
  test(`${url} with ${JSON.stringify(environment)} is reached by ${by ?? 'no web proxy'}`, () => {
    assert.equal(webProxyFor(new URL(url), environment)?.host, by);
  });
}

test('a variable that names no HTTP server is an error, which does not show it', () => {
  for (const bad of ['proxy.example:3128', 'user:secret@proxy', 'socks5://secret@proxy']) {
    assert.throws(
      () => webProxyFor(new URL('https://a.example/'), { https_proxy: bad }),
      (error: Error) => error instanceof WebProxySettingError && !error.message.includes('secret'),
    );
  }
});
