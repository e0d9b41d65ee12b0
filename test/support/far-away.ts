import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { compile } from './compile.ts';
import type { Inside } from './mounted.ts';
import { DIES_WITH_TEST, start } from './program.ts';

/** A server that is far away: its name, the address by which it is reached, and the one on which it listens. */
export const FAR = { name: 'far.example', address: '10.77.0.2', listens: '10.77.0.1' } as const;

/**
 * Makes a network of its own, as root, without IPv6 and without a way out, for what runs `inside`. There
 * FAR.name has an address of IPv4 and one of IPv6, in /etc/hosts; who connects to the first comes out at
 * FAR.listens. Each packet takes `ms`, and with `losesSyns` the first of each connection is lost, which TCP
 * sends again after a second.
 */
export async function farAway(
  t: TestContext,
  folder: string,
  { ms = 0, losesSyns = false } = {},
): Promise<Inside> {
  const hosts = join(folder, 'hosts');
  writeFileSync(
    hosts,
    `127.0.0.1 localhost\n${FAR.address} ${FAR.name}\n2001:db8::1 ${FAR.name}\n`,
  );
  const link = await compile(t, 'support/far-away.c', join(folder, 'far-away'), '-O2');
  const script =
    'mount --make-rprivate / 2>/dev/null; mount --bind "$1" /etc/hosts && shift && exec "$@"';
  const namespaces = ['-m', '-n', '--propagation', 'unchanged'];
  const inThem = ['/bin/sh', '-c', script, 'sh', hosts, link, String(ms), losesSyns ? '1' : '0'];
  const keeper = start(t, 'unshare', [...namespaces, ...inThem]);
  await keeper.says(/^far away$/m);
  return (file, ...words) => [
    'nsenter',
    [
      '-m',
      '-n',
      '-r',
      '-w',
      '-t',
      `${keeper.child.pid}`,
      '--',
      'setpriv',
      ...DIES_WITH_TEST,
    ].concat(file, words),
  ];
}
