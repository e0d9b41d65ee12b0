import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import test from 'node:test';
import Database, { binaries } from '../../src/sqlite/better-sqlite3.ts';
import { buildPackages } from '../../debian/make/packages.ts';
import { prepare } from '../../debian/make/prepare.ts';
import { LONG, timeLimit } from '../support/figures.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

/** Built with Node.js 20, the packages have what that needs too. */
const isForNode20 = process.version.startsWith('v20.');
const compiled = `node_modules/${binaries.node20}`;
const koffi = `node_modules/@koromix/koffi-linux-${process.arch}`;

const native = [
  `${koffi}/index.js`,
  `${koffi}/linux_${process.arch}/koffi.node`,
  `${koffi}/package.json`,
  `node_modules/${binaries.latest}`,
  ...(isForNode20 ? [compiled] : []),
];

/** Files below /usr/lib/PACKAGE: what runs, and nothing else. */
const programs: Record<string, string[]> = {
  'appengine-mailer': [
    'appengine-mailer.mjs',
    'exim-pipe',
    'exim-pipe.cjs',
    'gmail.mjs',
    'appengine-worker.mjs',
    'migrate-spool.mjs',
    'node-fits.mjs',
    'share-key',
    ...native,
    'package.json',
  ],
  'appengine-mailer-proxy': [
    'appengine-mailer.mjs',
    'copy-keys',
    'share-key',
    'appengine-worker.mjs',
    'node-fits.mjs',
    ...native,
    'package.json',
  ],
};

/** The host kit's .deb, in bytes. */
const DEB_MAX = 2.8e6;

/** A bill of materials; what is not of npm has no purl. */
interface Sbom {
  components: { name: string; version: string; purl?: string }[];
}

/** What the long form copies of this checkout to build once more. */
const COPIED = [
  'README.md',
  'SECURITY.md',
  'debian',
  'exim',
  'node_modules',
  'package-lock.json',
  'package.json',
  'src',
  'systemd',
  'tsconfig.json',
];

test(
  'Debian packages',
  { ...needs('debhelper', 'lintian'), timeout: timeLimit(300_000) },
  async (suite) => {
    const work = scratch(suite);
    prepare(join(work, 'prepared'));
    const debs = buildPackages(join(work, 'prepared'), join(work, 'deb'));
    const unpacked = (name: string) => join(work, `unpacked-${name}`);
    for (const deb of debs) execFileSync('dpkg-deb', ['-x', deb, unpacked(packageOf(deb))]);
    const libOf = (name: string) => join(unpacked(name), 'usr/lib', name);

    await suite.test(
      'the packages have what runs, are small, and lintian finds no fault',
      async (t) => {
        assert.deepEqual(debs.map(packageOf).toSorted(), Object.keys(programs));
        for (const [name, files] of Object.entries(programs)) {
          assert.deepEqual(filesIn(libOf(name)), files.toSorted());
          const lib = join(unpacked(name), 'usr/lib');
          assert.ok(existsSync(join(lib, `systemd/system/${name}.service`)));
          assert.ok(existsSync(join(lib, `sysusers.d/${name}.conf`)));
          const doc = join(unpacked(name), 'usr/share/doc', name);
          assert.ok(existsSync(join(doc, 'README.md.gz')));
        }
        for (const deb of debs) assert.ok(statSync(deb).size < DEB_MAX, `${deb} is too large`);

        const lintian = ['--fail-on', 'error,warning', '--allow-root', ...debs];
        const { code, stdout, stderr } = await run(t, 'lintian', lintian, { env: { HOME: work } });
        assert.equal(code, 0, `${stdout.toString()}${stderr}`);
      },
    );

    await suite.test('they want a Node.js that can load their native modules', () => {
      const since22 = 'nodejs (>= 22.14)';
      const since20 = `nodejs (>= 20.19), nodejs (<< 21) | ${since22}`;
      for (const deb of debs) {
        const depends = execFileSync('dpkg-deb', ['-f', deb, 'Depends'], { encoding: 'utf8' });
        const ofNode = depends.split(', ').filter((each) => each.startsWith('nodejs '));
        assert.equal(ofNode.join(', '), isForNode20 ? since20 : since22);
      }
    });

    await suite.test('native modules are stripped, and what was compiled here is hardened', () => {
      for (const name of Object.keys(programs)) {
        const addons = filesIn(libOf(name)).filter((file) => file.endsWith('.node'));
        assert.equal(addons.length, isForNode20 ? 3 : 2);
        for (const addon of addons) {
          const elf = execFileSync('readelf', ['-dlSW', '--dyn-syms', join(libOf(name), addon)], {
            encoding: 'utf8',
          });
          assert.match(elf, /^ {2}GNU_RELRO /m, addon);
          assert.match(elf, /^ {2}GNU_STACK .* RW /m, addon);
          assert.doesNotMatch(elf, /\.symtab|\.debug_|RPATH|RUNPATH/, addon);
          // The binaries that npm packages bring are as their authors built them.
          if (addon.includes('sqlite')) assert.match(elf, /\b__memcpy_chk\b/, addon);
          if (addon.includes('sqlite')) assert.match(elf, /\b__stack_chk_fail\b/, addon);
          if (addon === compiled) assert.match(elf, /\(FLAGS\) .*\bBIND_NOW\b/, addon);
        }
      }
    });

    await suite.test('the bill of materials names what is in the package, and nothing else', () => {
      for (const name of Object.keys(programs)) {
        const file = join(unpacked(name), 'usr/share/doc', name, 'sbom.cdx.json');
        const { components } = JSON.parse(readFileSync(file, 'utf8')) as Sbom;
        const npm = components.filter(({ purl }) => purl !== undefined);
        const others = components.filter(({ purl }) => purl === undefined);
        // The programs have the JavaScript of both better-sqlite3.
        assert.deepEqual(
          others.map((other) => other.name),
          ['sqlite', 'sqlite'],
        );
        const sqlite = new Database(':memory:').prepare('SELECT sqlite_version()').pluck().get();
        assert.ok(others.some(({ version }) => version === sqlite));
        const shipped = npmPackagesIn(libOf(name)).map((folder) =>
          folder.replace('better-sqlite3-node20', 'better-sqlite3'),
        );
        assert.deepEqual(new Set(npm.map((each) => each.name)), new Set(shipped));
      }
    });

    // In the long form native modules are compiled anew, in another checkout.
    await suite.test(
      'built again, elsewhere and by somebody else, they are the same bytes',
      async (t) => {
        const again = scratch(t);
        if (LONG) {
          for (const part of COPIED) {
            cpSync(inCheckout(part), join(again, part), {
              recursive: true,
              verbatimSymlinks: true,
            });
          }
          const build = join(again, 'node_modules/better-sqlite3-node20/build');
          rmSync(build, { recursive: true, force: true });
        }
        const script = `umask 077; ${LONG ? 'npm run build && ' : ''}npx tsx debian/make/main.ts "$0"`;
        const { HOME, npm_config_nodedir } = process.env;
        const { code, stderr } = await run(t, 'sh', ['-c', script, join(again, 'elsewhere')], {
          cwd: LONG ? again : inCheckout('.'),
          env: { HOME, npm_config_nodedir, TZ: 'Pacific/Kiritimati', LC_ALL: 'C.UTF-8' },
        });
        assert.equal(code, 0, stderr);
        for (const deb of debs) {
          const other = readFileSync(join(again, 'elsewhere/deb', basename(deb)));
          assert.ok(readFileSync(deb).equals(other), basename(deb));
        }
      },
    );
  },
);

/** The npm packages whose files are in a folder, or in the bundles there: esbuild names each file. */
function npmPackagesIn(folder: string): string[] {
  const files = filesIn(folder);
  const bundled = files
    .filter((file) => /\.[cm]js$/.test(file))
    .flatMap(
      (file) => readFileSync(join(folder, file), 'utf8').match(/^ *\/\/ node_modules\/.*/gm) ?? [],
    );
  return [...files, ...bundled].flatMap(
    (file) => /^.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? [],
  );
}

function packageOf(deb: string): string {
  return basename(deb).replace(/_.*/, '');
}

/** The files below a folder, sorted. */
function filesIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => !statSync(join(folder, name)).isDirectory()).toSorted();
}
