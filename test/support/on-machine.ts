import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** What a machine is called: its host name, and the content of two files. */
export interface MachineFiles {
  hostname: string;
  hosts: string;
  /** Of /etc/mailname; undefined: there is none. */
  mailname?: string;
}

/**
 * Makes a command line, as root, one that runs on a machine that is called so: it has a host name and an /etc of its
 * own, and everything else of this machine. `folder` is the test's own.
 */
export function onMachine(
  folder: string,
  { hostname, hosts, mailname = '' }: MachineFiles,
  ...words: readonly string[]
): [file: string, args: string[]] {
  const memory = join(folder, 'memory');
  mkdirSync(memory, { recursive: true });
  const names = [memory, hostname, hosts, mailname];
  const unshare = ['-m', '-u', '--propagation', 'unchanged', '/bin/sh', '-ec', SCRIPT, 'sh'];
  return ['unshare', [...unshare, ...names, ...words]];
}

/** Where the root is no mount point (in a chroot) it cannot be made private, and need not be. */
const SCRIPT = `
mount --make-rprivate / 2>/dev/null || true
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" overlay /etc
hostname "$2"
printf '%s\\n' "$3" >/etc/hosts
rm -f /etc/mailname
[ -z "$4" ] || printf '%s\\n' "$4" >/etc/mailname
shift 4
exec "$@"`;
