import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, request as requestTo } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { Road } from '../support/road.ts';

test(
  "src/wire/README.md's client in curl and openssl sends a message",
  needs('curl', 'openssl'),
  async (t) => {
    const [client = ''] = examples();
    const road = new Road(t);
    const message = Buffer.from('Subject: by hand\n\nCaf\xe9\n', 'latin1');
    writeFileSync(join(road.folder, 'message.eml'), message);
    await road.proxy();
    const env = { KEY: road.key, URL: `http://${road.address}/` };

    const { code, stdout, stderr } = await run(t, '/bin/sh', ['-euc', client], {
      cwd: road.folder,
      env,
    });
    assert.equal(code, 0, stderr);
    const answer = JSON.parse(stdout.toString()) as { verdicts: { status: string }[] };
    assert.deepEqual(
      answer.verdicts.map(({ status }) => status),
      ['2.0.0'],
    );
    assert.deepEqual(road.deliveries()[0]?.bytes, message);

    // It does notice an answer of somebody else: with another key on both ways nothing is accepted.
    const wrong = { ...env, KEY: 'another key' };
    const refused = await run(t, '/bin/sh', ['-euc', client], { cwd: road.folder, env: wrong });
    assert.notEqual(refused.code, 0);
    assert.equal(road.deliveries().length, 1);
  },
);

test(
  "src/wire/README.md's client in curl reads header names in any case",
  needs('curl', 'openssl'),
  async (t) => {
    const [client = ''] = examples();
    const road = new Road(t);
    writeFileSync(join(road.folder, 'message.eml'), 'Subject: by hand\n\nx\n');
    await road.proxy();
    // As Caddy does: Webhook-Signature.
    const before = createServer((request, response) => {
      const { method, headers } = request;
      const onward = requestTo(`http://${road.address}/`, { method, headers }, (answer) => {
        for (const [name, value = ''] of Object.entries(answer.headers)) {
          response.setHeader(
            name.replace(/\b[a-z]/g, (letter) => letter.toUpperCase()),
            value,
          );
        }
        answer.pipe(response);
      });
      request.pipe(onward);
    });
    await new Promise<void>((resolve) => before.listen(0, '127.0.0.1', resolve));
    t.after(() => before.close());
    const { port } = before.address() as AddressInfo;
    const env = { KEY: road.key, URL: `http://127.0.0.1:${port}/` };
    const { code, stdout, stderr } = await run(t, '/bin/sh', ['-euc', client], {
      cwd: road.folder,
      env,
    });
    assert.equal(code, 0, stderr);
    assert.match(stdout.toString(), /"status":"2\.0\.0"/);
  },
);

test('the samples for web servers redirect nothing', () => {
  const nginx = readFileSync(inCheckout('debian/examples/nginx.conf'), 'utf8');
  assert.doesNotMatch(nginx, /return 30\d|listen .*80/);
  const caddy = readFileSync(inCheckout('debian/examples/Caddyfile'), 'utf8');
  assert.match(caddy, /^\{\n {2}auto_https disable_redirects\n\}\n/m);
});

test(
  "src/wire/README.md's client of version 1 sends a message of any octets",
  needs('curl', 'openssl'),
  async (t) => {
    const [, client = ''] = examples();
    const road = new Road(t);
    const start = 'From: me@example.com\nTo: you@example.org\n\n';
    const message = Buffer.from(`${start}Caf\xe9 + & = %41 \xff\r\n`, 'latin1');
    writeFileSync(join(road.folder, 'message.eml'), message);
    await road.proxy();
    const posted = async (KEY: string) => {
      const env = { KEY, URL: `http://${road.address}/` };
      const { code, stdout, stderr } = await run(t, '/bin/sh', ['-euc', client], {
        cwd: road.folder,
        env,
      });
      assert.equal(code, 0, stderr);
      return stdout.toString();
    };
    assert.equal(await posted(road.key), '204\n');
    assert.deepEqual(road.deliveries()[0]?.bytes, message);
    assert.equal(await posted('another key'), "Signature doesn't match400\n");
  },
);

/** The scripts in the interface's description. */
function examples(): string[] {
  const text = readFileSync(inCheckout('src/wire/README.md'), 'utf8');
  return [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, script = '']) => script);
}
