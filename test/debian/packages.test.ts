import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { basename, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { buildPackages } from '../../debian/make/packages.ts';
import { prepare } from '../../debian/make/prepare.ts';
import { needs } from '../support/needs.ts';
import { run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

const native = [
  'node_modules/better-sqlite3/build/Release/better_sqlite3.node',
  'node_modules/bindings/bindings.js',
  'node_modules/bindings/package.json',
  'node_modules/file-uri-to-path/index.js',
  'node_modules/file-uri-to-path/package.json',
  'node_modules/unix-dgram/build/Release/unix_dgram.node',
  'node_modules/unix-dgram/lib/unix_dgram.js',
  'node_modules/unix-dgram/package.json',
];

/** Files below /usr/lib/PACKAGE: what runs, and nothing else. */
const programs: Record<string, string[]> = {
  'appengine-mailer': [
    'appengine-mailer.mjs',
    'exim-pipe',
    'exim-pipe.cjs',
    'gmail.mjs',
    'html-as-text-worker.mjs',
    'migrate-spool.mjs',
    ...native,
    'package.json',
  ],
  'appengine-mailer-proxy': [
    'appengine-mailer.mjs',
    'copy-keys',
    'html-as-text-worker.mjs',
    ...native,
    'package.json',
  ],
};

/** The host kit's .deb, in bytes. */
const DEB_MAX = 2.5e6;

test(
  'the packages have what runs, are small, and lintian finds no fault',
  needs('debhelper', 'lintian'),
  async (t) => {
    const work = scratch(t);
    prepare(join(work, 'prepared'));
    const debs = buildPackages(join(work, 'prepared'), join(work, 'deb'));
    const found = Object.fromEntries(
      await Promise.all(debs.map(async (deb) => [packageOf(deb), await contents(t, deb)] as const)),
    );
    assert.deepEqual(Object.keys(found).toSorted(), Object.keys(programs));
    for (const [name, files] of Object.entries(found)) {
      const lib = `./usr/lib/${name}/`;
      const inLib = files.filter((file) => file.startsWith(lib) && !file.endsWith('/'));
      assert.deepEqual(inLib.map((file) => file.slice(lib.length)).toSorted(), programs[name]);
      assert.ok(files.includes(`./usr/lib/systemd/system/${name}.service`));
      assert.ok(files.includes(`./usr/lib/sysusers.d/${name}.conf`));
    }
    for (const deb of debs) assert.ok(statSync(deb).size < DEB_MAX, `${deb} is too large`);

    const lintian = ['--fail-on', 'error,warning', '--allow-root', ...debs];
    const { code, stdout, stderr } = await run(t, 'lintian', lintian, { env: { HOME: work } });
    assert.equal(code, 0, `${stdout.toString()}${stderr}`);
  },
);

function packageOf(deb: string): string {
  return basename(deb).replace(/_.*/, '');
}

async function contents(t: TestContext, deb: string): Promise<string[]> {
  const { code, stdout, stderr } = await run(t, 'dpkg-deb', ['--contents', deb]);
  assert.equal(code, 0, stderr);
  // Mode, owner, size, day, time, name, and where a link leads.
  const lines = stdout.toString().trim().split('\n');
  return lines.map((line) => line.split(/\s+/)[5] ?? '');
}
