import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { inCheckout } from './program.ts';

/** Debian's releases that the packages are tried on: 13 and 12. */
export type Release = 'trixie' | 'bookworm';

/**
 * The folder of a bare Debian with Exim as it installs itself, made once and kept in build/. Tests lay an
 * overlay over it and never write to it. Bookworm has no Node of its own that is new enough.
 */
export function debianRoot(release: Release): string {
  const folder = inCheckout(`build/roots/${release}`);
  if (existsSync(folder)) return folder;
  const packages =
    'systemd systemd-sysv dbus ca-certificates procps bsd-mailx exim4-daemon-light debconf-utils ' +
    `libstdc++6 libatomic1 man-db curl ${release === 'trixie' ? 'nodejs' : ''}`;
  mkdirSync(inCheckout('build/roots'), { recursive: true });
  const half = `${folder}.${process.pid}`;
  const { status, stderr } = spawnSync(
    'mmdebstrap',
    ['--variant=minbase', `--include=${packages}`, release, half],
    { env: { ...process.env, TMPDIR: '/tmp' } },
  );
  if (status !== 0) throw new Error(`mmdebstrap ${release}: ${stderr.toString()}`);
  try {
    renameSync(half, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
    rmSync(half, { recursive: true, force: true }); // Another test was faster.
  }
  return folder;
}
