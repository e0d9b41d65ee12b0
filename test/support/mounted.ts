import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { DIES_WITH_TEST, run, start } from './program.ts';

/** Makes a command line one that sees what was mounted. */
export type Inside = (file: string, ...args: string[]) => [string, string[]];

/**
 * Mounts a file system of its own, in memory, on a folder, as root; `options` are those of tmpfs. Only
 * what runs `inside` sees it: it belongs to a process of the test and goes with it, and what runs inside is
 * killed, however the test ends.
 */
export async function mounted(t: TestContext, folder: string, options = ''): Promise<Inside> {
  return inNamespace(t, 'mount -t tmpfs -o "$1" tmpfs "$2"', `mode=755,${options}`, folder);
}

/** The same with a small disk: an image of ext4, in bytes. */
export async function mountedImage(
  t: TestContext,
  image: string,
  folder: string,
  bytes: number,
): Promise<Inside> {
  const make = await run(t, 'mkfs.ext4', ['-q', '-m', '0', image, `${Math.floor(bytes / 1024)}k`]);
  assert.equal(make.code, 0, make.stderr);
  return inNamespace(t, 'mount -o loop "$1" "$2"', image, folder);
}

/** A namespace of mounts, made by a command line of the shell that may use $1 and $2. */
export async function inNamespace(
  t: TestContext,
  mount: string,
  what: string,
  folder: string,
): Promise<Inside> {
  // Where the root is no mount point (in a chroot) it cannot be made private, and need not be.
  const script = `mount --make-rprivate / 2>/dev/null; ${mount} && echo mounted >&2 && exec cat`;
  const args = ['-m', '--propagation', 'unchanged', '/bin/sh', '-c', script, 'sh', what, folder];
  const keeper = start(t, 'unshare', args);
  await keeper.says(/^mounted$/m);
  return (file, ...words) => [
    'nsenter',
    [
      '-m',
      '-r',
      '-w',
      '-t',
      `${keeper.child.pid}`,
      '--',
      'setpriv',
      ...DIES_WITH_TEST,
      file,
      ...words,
    ],
  ];
}
