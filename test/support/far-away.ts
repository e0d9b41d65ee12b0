import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Inside } from './mounted.ts';
import { DIES_WITH_TEST, inCheckout, start } from './program.ts';

/** The name of a server that is far away, and the address on which it listens. */
export const FAR = { name: 'far.example', listens: '10.77.0.1' } as const;

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
  writeFileSync(hosts, `127.0.0.1 localhost\n10.77.0.2 ${FAR.name}\n2001:db8::1 ${FAR.name}\n`);
  const script =
    'mount --make-rprivate / 2>/dev/null; mount --bind "$1" /etc/hosts && shift && exec "$@"';
  const link = ['/usr/bin/python3', inCheckout('test/support/far-away.py')];
  const namespaces = ['-m', '-n', '--propagation', 'unchanged'];
  const inThem = ['/bin/sh', '-c', script, 'sh', hosts, ...link];
  const how = [String(ms / 1000), losesSyns ? '1' : '0'];
  const keeper = start(t, 'unshare', [...namespaces, ...inThem, ...how]);
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
