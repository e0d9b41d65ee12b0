import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';

for (const [where, listen, url, args, says] of [
  ['http: on this machine', '127.0.0.1:0', '', [], 'none is needed for http: on this machine'],
  ['a Unix socket', 'unix:SOCKET', 'http+unix:SOCKET', [], 'none is needed for a Unix socket'],
  [
    'http: elsewhere',
    '127.0.0.1:0',
    'http://0.0.0.0:PORT/',
    ['--allow-insecure'],
    'there is none: --allow-insecure lets mail go to 0.0.0.0 by http:, and anybody on the way can',
  ],
] as const) {
  test(`check says whether a certificate is needed for ${where}`, async (t) => {
    const road = new Road(t);
    const socket = join(road.folder, 'proxy.sock');
    const ledger = ['--ledger', join(road.folder, 'ledger.db'), '--dir', road.delivered];
    const at = listen.replace('SOCKET', socket);
    const env = { GMAIL_SECRET_KEY: road.key };
    const proxy = appengineMailer(t, ['proxy', '--listen', at, ...ledger], { env, cwd: '/' });
    const [, address = ''] = await proxy.says(/proxy listens on (\S+),/);
    const port = address.split(':').at(-1) ?? '';
    const proxyUrl = (url || `http://${address}/`).replace('SOCKET', socket).replace('PORT', port);
    const words = ['check', '--json', '--spool', road.spool, '--proxy-url', proxyUrl, ...args];
    const { stdout } = await appengineMailer(t, words, { env, input: '' }).ended;
    const certificate = stdout
      .toString()
      .split('\n')
      .find((line) => line.includes('"certificate"'));
    assert.ok(certificate?.includes(says), stdout.toString());
  });
}
