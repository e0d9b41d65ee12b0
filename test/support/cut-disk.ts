import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { mounted, type Inside } from './mounted.ts';
import { run } from './program.ts';
import { scratch } from './scratch.ts';

/**
 * A disk of the test's own with an ext4, whose power can be cut as often as one likes while what runs on
 * it goes on. The disk is a file on an XFS, which clones it in an instant with all that ext4 has handed to
 * the disk and nothing of what is only in ext4's cache. Needs root. Everything is in memory and goes with
 * the test, however that ends.
 */
export class CutDisk {
  /** Makes a command line one that sees the disk. */
  readonly inside: Inside;
  /** Where it is mounted. */
  readonly folder: string;
  readonly #t: TestContext;
  readonly #base: string;
  #cuts = 0;

  private constructor(t: TestContext, base: string, inside: Inside) {
    this.#t = t;
    this.#base = base;
    this.inside = inside;
    this.folder = join(base, 'memory', 'ext4');
  }

  /** Makes a disk with these folders. */
  static async make(t: TestContext, folders: readonly string[]): Promise<CutDisk> {
    const base = scratch(t);
    mkdirSync(join(base, 'memory'));
    const disk = new CutDisk(t, base, await mounted(t, join(base, 'memory'), 'size=4g'));
    await disk.#script(MAKE, folders);
    return disk;
  }

  /** Cuts the power: keeps what is on the disk at this moment. */
  async cut(): Promise<void> {
    await this.#script(CUT, []);
  }

  /** Mounts what the last cut left, as the machine would that starts again; returns a copy of all files. */
  async recovered(): Promise<string> {
    this.#cuts += 1;
    const copy = join(this.#base, `cut-${this.#cuts}`);
    mkdirSync(copy);
    await this.#script(RECOVER, [copy]);
    return copy;
  }

  async #script(script: string, args: readonly string[]): Promise<void> {
    const shell = this.inside('/bin/sh', '-ec', script, join(this.#base, 'memory'), ...args);
    const { code, stderr } = await run(this.#t, ...shell);
    assert.equal(code, 0, `the test cannot use its disk: ${stderr}`);
  }
}

// `mount -o loop` gives the loop device back when the last mount is gone. The clone waits for what is being
// written, and takes along what XFS itself has not written yet.
const MAKE = `
cd "$0" && mkdir xfs ext4 after
truncate -s 2G xfs.img && mkfs.xfs -q -m reflink=1 xfs.img && mount -o loop xfs.img xfs
truncate -s 1G xfs/disk && mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 xfs/disk
mount -o loop xfs/disk ext4
cd ext4 && mkdir "$@" && sync -f .`;

const CUT = 'cd "$0" && cp --reflink=always xfs/disk xfs/cut';

const RECOVER = `
cd "$0" && mount -o loop xfs/cut after
cp -a after/. "$1" && umount after && rm xfs/cut`;
