import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { version } from '../../src/host/version.ts';
import { changelog } from './changelog.ts';

/**
 * Builds the Debian packages of what `prepare` made, with the network cut off where this machine lets us,
 * and returns the paths of the .deb files in the folder `to`, which is emptied before. The source tree
 * that they were built from stays there. `arch` is the processor they are for, as Node.js calls it.
 */
export function buildPackages(prepared: string, to: string, arch: string = process.arch): string[] {
  const { version: packaged } = changelog();
  if (packaged !== version()) {
    throw new Error(`package.json has version ${version()}, debian/changelog has ${packaged}`);
  }
  const tree = join(to, `appengine-mailer-${packaged}`);
  rmSync(to, { recursive: true, force: true });
  mkdirSync(tree, { recursive: true });
  // dpkg-buildpackage writes beside the tree, and into its debian folder.
  for (const part of ['README.md', 'SECURITY.md', 'debian', 'exim', 'systemd']) {
    cpSync(part, join(tree, part), { recursive: true, verbatimSymlinks: true });
  }
  cpSync(prepared, join(tree, 'build/prepared'), { recursive: true });
  const foreign = arch === process.arch ? [] : ['-d', `--host-arch=${DEBIAN_NAMES[arch] ?? arch}`];
  const build = ['dpkg-buildpackage', '-b', '-us', '-uc', ...foreign];
  const [program = '', ...args] = [...withoutNetwork(), ...build];
  const { status, error } = spawnSync(program, args, { cwd: tree, stdio: ['ignore', 2, 2] });
  if (status !== 0) {
    throw new Error(`${program} ${args.join(' ')} ended with ${error?.message ?? status}`);
  }
  const files = readdirSync(to).filter((name) => name.endsWith('.deb'));
  return files.map((name) => join(to, name));
}

/** What Debian calls the processors. */
const DEBIAN_NAMES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };

/** A command before a command; a user may only unshare the network together with a user namespace. */
function withoutNetwork(): string[] {
  const ways = [
    ['unshare', '--net'],
    ['unshare', '--map-current-user', '--net'],
  ];
  return ways.find((way) => spawnSync('unshare', [...way.slice(1), 'true']).status === 0) ?? [];
}
