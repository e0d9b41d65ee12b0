import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inCheckout } from './program.ts';

/** The .deb files that `npm run build:deb` made, and the minor version of the C library that they want. */
export function builtPackages(): { host: string; proxy: string; libc: number } {
  const folder = inCheckout('build/deb');
  const find = (start: string) => {
    const name = readdirSync(folder).find(
      (each) => each.startsWith(start) && each.endsWith('.deb'),
    );
    if (!name) throw new Error(`no ${start}*.deb in ${folder}: npm run build:deb makes it`);
    return join(folder, name);
  };
  const [host, proxy] = [find('appengine-mailer_'), find('appengine-mailer-proxy_')];
  const depends = command('dpkg-deb', '-f', host, 'Depends');
  return { host, proxy, libc: Number(/libc6 \(>= 2\.(\d+)/.exec(depends)?.[1]) };
}

/** The same package with a higher version, as an upgrade brings it. */
export function higherVersion(deb: string, into: string): string {
  const tree = join(into, 'higher');
  command('dpkg-deb', '-R', deb, tree);
  const control = join(tree, 'DEBIAN/control');
  const text = readFileSync(control, 'utf8');
  writeFileSync(
    control,
    text.replace(/^Version: .*$/m, (line) => `${line}+higher`),
  );
  return pack(tree, join(into, 'higher.deb'));
}

/**
 * A package `nodejs` with another Node than Debian's, as NodeSource's packages are made: one program
 * without libnode. The program is npm's `node-linux-…`.
 */
export function nodePackage(version: string, into: string): string {
  const tree = join(into, `node-${version}`);
  mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
  mkdirSync(join(tree, 'usr'));
  const name = `node-linux-${process.arch}`;
  const tgz = command(
    'npm',
    'pack',
    '--silent',
    `--pack-destination=${into}`,
    `${name}@${version}`,
  );
  command(
    'tar',
    '-xzf',
    join(into, tgz.trim()),
    '-C',
    join(tree, 'usr'),
    '--strip-components=1',
    'package/bin',
  );
  const full = command(join(tree, 'usr/bin/node'), '--version').trim().slice(1);
  const architecture = command('dpkg', '--print-architecture').trim();
  const fields = [
    'Package: nodejs',
    `Version: ${full}-1nodesource1`,
    `Architecture: ${architecture}`,
    'Depends: libc6, libstdc++6',
    'Maintainer: a test <root@localhost>',
    'Description: Node.js of another make',
  ];
  writeFileSync(join(tree, 'DEBIAN/control'), `${fields.join('\n')}\n`);
  return pack(tree, join(into, `nodejs-${version}.deb`));
}

/**
 * A package `postfix` that has the account of Postfix, and nothing behind its commands; like the real one it takes the place
 * of Exim. What /etc/postfix/default_transport says is its default_transport.
 */
export function standInPostfix(into: string): string {
  const tree = join(into, 'postfix');
  for (const folder of ['DEBIAN', 'usr/sbin', 'etc/postfix']) {
    mkdirSync(join(tree, folder), { recursive: true });
  }
  const fields = [
    'Package: postfix',
    'Version: 3.10',
    'Architecture: all',
    'Provides: mail-transport-agent',
    'Conflicts: mail-transport-agent',
    'Replaces: mail-transport-agent',
    'Maintainer: a test <root@localhost>',
    'Description: stands in for Postfix',
  ];
  const scripts = {
    'DEBIAN/preinst': 'getent group postfix >/dev/null || useradd --system --user-group postfix',
    'usr/sbin/postfix': '',
    'usr/sbin/sendmail': '',
    'usr/sbin/postconf': 'cat /etc/postfix/default_transport; echo relay; echo',
  };
  writeFileSync(join(tree, 'DEBIAN/control'), `${fields.join('\n')}\n`);
  writeFileSync(join(tree, 'etc/postfix/default_transport'), 'smtp\n');
  for (const [file, script] of Object.entries(scripts)) {
    writeFileSync(join(tree, file), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return pack(tree, join(into, 'postfix.deb'));
}

function pack(tree: string, deb: string): string {
  command('dpkg-deb', '-Zgzip', '-z1', '--root-owner-group', '-b', tree, deb);
  rmSync(tree, { recursive: true });
  return deb;
}

function command(file: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(file, args, { cwd: inCheckout('.') });
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: ${String(stderr)}`);
  return stdout.toString();
}
