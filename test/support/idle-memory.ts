import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { prepare } from '../../debian/make/prepare.ts';
import { inCheckout, start } from './program.ts';
import { scratch } from './scratch.ts';

/** The memory (VmRSS) in MB of drain and proxy of the packages, while they have nothing to do. */
export async function idleMemory(t: TestContext): Promise<{ drain: number; proxy: number }> {
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
  return { drain: residentMB(drain.child.pid), proxy: residentMB(proxy.child.pid) };
}

/** The variables that a unit sets; those of the proxy are the same. */
function environmentOf(unit: string): NodeJS.ProcessEnv {
  const text = readFileSync(inCheckout(`systemd/${unit}.service`), 'utf8');
  return Object.fromEntries(
    [...text.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, ...each]) => each),
  );
}

function residentMB(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return (Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024) / 1e6;
}
