import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer, type TlsOptions } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { certificate } from '../support/certificate.ts';
import { handIn } from '../support/hand-in.ts';
import { mounted } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { npmSmtp } from '../support/npm-smtp.ts';
import { inCheckout, start, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';

// Every connection by TLS verifies its certificate, whatever NODE_TLS_REJECT_UNAUTHORIZED says: in the
// environment of the program, or in the file of /etc/default that it reads.

const CARELESS = 'NODE_TLS_REJECT_UNAUTHORIZED=0';

/** A TLS server with a certificate that nobody trusts; `heard` is what it is told inside TLS. */
async function untrusted(
  t: TestContext,
  tls: TlsOptions,
): Promise<{ port: number; heard: string[] }> {
  const heard: string[] = [];
  const server = createServer(tls, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      heard.push(data.toString('latin1'));
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
  });
  server.on('tlsClientError', () => {}); // That it is refused is what is wanted.
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, heard };
}

/** Starts `appengine-mailer ARGS…`, careless by its environment or by the file that it reads. */
type Start = (args: string[], env: NodeJS.ProcessEnv) => Promise<Program>;

async function starters(t: TestContext, folder: string): Promise<Record<string, Start>> {
  const program = inCheckout('dist/bin/appengine-mailer.js');
  const inside = await mounted(t, '/etc/default');
  const names = 'appengine-mailer appengine-mailer-proxy';
  const script = `for name in ${names}; do echo ${CARELESS} >/etc/default/$name; done; exec "$@"`;
  const quiet = { APPENGINE_MAILER_NOTICE_SMTP: '127.0.0.1:1' };
  return {
    environment: async (args, env) =>
      start(t, process.execPath, [program, ...args], {
        cwd: folder,
        env: { ...quiet, ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0' },
      }),
    '/etc/default': async (args, env) => {
      const command = inside('sh', '-c', script, 'sh', process.execPath, program, ...args);
      return start(t, ...command, { cwd: folder, env: { ...quiet, ...env } });
    },
  };
}

for (const by of ['environment', '/etc/default']) {
  const what = `${CARELESS} by ${by}`;

  test(
    `${what}: drain posts to no proxy, and through no web proxy, that is not trusted (law 10)`,
    needs('openssl', 'root'),
    async (t) => {
      const road = new Road(t);
      handIn(road.spool, [{}]);
      const begin = (await starters(t, road.folder))[by] ?? assert.fail();
      const server = await untrusted(t, await certificate(t, road.folder));
      const here = `https://localhost:${server.port}/`;
      for (const settings of [
        { GMAIL_PROXY_URL: here },
        { GMAIL_PROXY_URL: 'https://mail.example.org/', https_proxy: here },
      ]) {
        const env = { GMAIL_SECRET_KEY: road.key, ...settings };
        const drain = await begin(['drain', '--once', '--spool', road.spool], env);
        const { code, stderr } = await drain.ended;
        assert.equal(code, 69, stderr);
        assert.match(stderr, /self-signed certificate/);
      }
      assert.deepEqual(server.heard, []);
    },
  );

  test(
    `${what}: the relay that is not trusted gets no password, and its token server no secret (law 10)`,
    needs('openssl', 'root'),
    async (t) => {
      const road = new Road(t);
      const begin = (await starters(t, road.folder))[by] ?? assert.fail();
      const { key, cert } = await certificate(t, road.folder);
      const logins: string[] = [];
      const asked: string[] = [];
      for (const security of ['tls', 'starttls', 'oauth'] as const) {
        const { relay, messages } = await npmSmtp(t, {
          key,
          cert,
          secure: security === 'tls',
          ...(security === 'oauth' && {
            authMethods: ['XOAUTH2'],
            hideSTARTTLS: true,
            allowInsecureAuth: true,
          }),
          onAuth({ username }, _, done) {
            logins.push(username ?? '');
            done(null, { user: username });
          },
        });
        const tokens = await untrusted(t, { key, cert });
        const credentials = {
          client_id: 'i',
          client_secret: 's',
          refresh_token: 'r',
          token_uri: `https://localhost:${tokens.port}/`,
        };
        const { port } = relay({});
        const folder = join(road.folder, security);
        mkdirSync(folder);
        const args = [
          'proxy',
          '--listen',
          '127.0.0.1:0',
          '--ledger',
          join(folder, 'ledger.db'),
          '--backend',
          'smtp',
          '--smtp-host',
          '127.0.0.1',
          '--smtp-port',
          String(port),
          '--smtp-user',
          'u',
          '--smtp-security',
          security === 'oauth' ? 'none' : security,
        ];
        const proxy = await begin(args, {
          GMAIL_SECRET_KEY: road.key,
          ...(security === 'oauth'
            ? { APPENGINE_SMTP_OAUTH: JSON.stringify(credentials) }
            : { APPENGINE_SMTP_PASSWORD: 'the password' }),
        });
        const [, address = ''] = await proxy.says(/proxy listens on (\S+),/);
        road.address = address;
        const [id] = handIn(road.spool, [{}]);
        assert.ok(id);
        assert.equal((await road.drain(['--once']).ended).code, 69);
        assert.match(proxy.stderr, /self-signed certificate/, security);
        assert.deepEqual(messages, []);
        asked.push(...tokens.heard);
        await proxy.stop();
      }
      assert.deepEqual([logins, asked], [[], []]);
    },
  );
}
