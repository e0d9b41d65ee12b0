import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { prepare } from '../../debian/make/prepare.ts';
import { inCheckout, start } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

/** The variables that a unit sets; those of the proxy are the same. */
function environmentOf(unit: string): NodeJS.ProcessEnv {
  const text = readFileSync(inCheckout(`systemd/${unit}.service`), 'utf8');
  return Object.fromEntries(
    [...text.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, ...each]) => each),
  );
}

/** Node.js itself takes 43 to 46 MB, before it runs anything. */
const MOST_MB = 80;

test('drain and proxy of the packages take little memory while they have nothing to do', async (t) => {
  const [prepared, cwd] = [scratch(t), scratch(t)];
  prepare(prepared);
  const env = {
    GMAIL_SECRET_KEY: 'a secret key of this test',
    ...environmentOf('appengine-mailer'),
  };
  const run = (args: readonly string[], more: NodeJS.ProcessEnv = {}) =>
    start(t, process.execPath, [join(prepared, 'lib/appengine-mailer.mjs'), ...args], {
      cwd,
      env: { ...env, ...more },
    });
  const proxy = run(['proxy', '--listen', '127.0.0.1:0']);
  const [, address] = await proxy.says(/proxy listens on (\S+),/);
  const drain = run(['drain', '--spool', cwd], { GMAIL_PROXY_URL: `http://${address}/` });
  await drain.says(/drain of .* started/);
  for (const [name, { child }] of Object.entries({ proxy, drain })) {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    const megabytes = (Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024) / 1e6;
    t.diagnostic(`${name}: ${megabytes.toFixed(1)} MB`);
    assert.ok(megabytes <= MOST_MB, `${name} takes ${megabytes.toFixed(1)} MB`);
  }
});
