import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { version } from '../../src/host/version.ts';
import { changelog } from './changelog.ts';

/**
 * Builds the Debian packages of what `prepare` made, with the network cut off where this machine lets us,
 * and returns the paths of the .deb files in the folder `to`, which is emptied before. The source tree
 * that they were built from stays there.
 */
export function buildPackages(prepared: string, to: string): string[] {
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
  const [program, ...args] = [...withoutNetwork(), 'dpkg-buildpackage', '-b', '-us', '-uc'];
  const { status, error } = spawnSync(program, args, { cwd: tree, stdio: ['ignore', 2, 2] });
  if (status !== 0) {
    throw new Error(`${program} ${args.join(' ')} ended with ${error?.message ?? status}`);
  }
  const files = readdirSync(to).filter((name) => name.endsWith('.deb'));
  return files.map((name) => join(to, name));
}

/** A command before a command; a user may only unshare the network together with a user namespace. */
function withoutNetwork(): string[] {
  const ways = [
    ['unshare', '--net'],
    ['unshare', '--map-current-user', '--net'],
  ];
  return ways.find((way) => spawnSync('unshare', [...way.slice(1), 'true']).status === 0) ?? [];
}
