import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { inCheckout, start, type Program } from './program.ts';
import type { Road } from './road.ts';

/** Whom a program runs as. */
export interface Ids {
  uid: number;
  gid: number;
  /** Groups besides. */
  groups?: readonly number[];
}

/**
 * Starts `appengine-mailer ARGS…`, or `gmail ARGS…`, as an account, as root may. The account may not be let into the
 * checkout: it sees it by a mount of its own in the road's folder.
 */
export function appengineMailerAs(
  { t, folder }: Road,
  { uid, gid, groups = [] }: Ids,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  command: 'appengine-mailer' | 'gmail' = 'appengine-mailer',
): Program {
  const place = join(folder, 'checkout');
  mkdirSync(place, { recursive: true });
  chmodSync(folder, 0o711);
  // Where the root is no mount point (in a chroot) it cannot be made private, and need not be.
  const script =
    'mount --make-rprivate / 2>/dev/null; mount --bind "$1" "$2" && cd "$2" && shift 2 && exec "$@"';
  const others = groups.length > 0 ? `--groups=${groups.join()}` : '--clear-groups';
  const account = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, others, '--'];
  const program = [process.execPath, join(place, `dist/bin/${command}.js`), ...args];
  const inside = ['sh', '-c', script, 'sh', inCheckout('.'), place, ...account, ...program];
  return start(t, 'unshare', ['-m', '--propagation', 'unchanged', ...inside], { env, input: '' });
}
