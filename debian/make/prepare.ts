import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { version } from '../../src/host/version.ts';
import { bundle } from './bundle.mjs';
import { addonOf } from './compile-addon.ts';
import { sbom } from './sbom.ts';

/** What runs of the packages that are not bundled: native code for a processor, as Node.js calls it, and what loads it. */
const nativeModules = (arch: string) => [
  `better-sqlite3/prebuilds/linux-${arch}.node`,
  `@koromix/koffi-linux-${arch}/package.json`,
  `@koromix/koffi-linux-${arch}/index.js`,
  `@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`,
];

/** The better-sqlite3 that Node.js 20 needs was compiled by it, for its own processor. */
const canBeForNode20 = (arch: string) =>
  process.version.startsWith('v20.') && arch === process.arch;

/** Programs that are bundled here; exim-pipe.cjs is of `npm run build`, and has native modules only. */
const entryPoints = {
  'appengine-mailer': 'src/bin/appengine-mailer.ts',
  gmail: 'src/bin/gmail.ts',
  'migrate-spool': 'src/bin/migrate-spool.ts',
  'node-fits': 'src/bin/node-fits.ts',
  'appengine-worker': 'src/proxy/backends/appengine/appengine-worker.mjs',
};

/** The Debian packages, and the programs that each has. */
const contents = {
  'appengine-mailer': Object.keys(entryPoints),
  'appengine-mailer-proxy': ['appengine-mailer', 'appengine-worker', 'node-fits'],
};

/**
 * Fills a folder with what the Debian packages ship of our program: `lib` has one file a program and
 * the native modules, `completions` what bash reads, `doc` each package's bill of materials. Needs
 * `npm run build` before. Returns the npm packages whose code is in each Debian package, by their
 * paths, as node_modules/yargs. For another processor than this one's, its native code is fetched from the registry.
 */
export function prepare(
  folder: string,
  arch: string = process.arch,
): Record<keyof typeof contents, Set<string>> {
  rmSync(folder, { recursive: true, force: true });
  const lib = join(folder, 'lib');
  const bundled = bundlePrograms(lib);
  cpSync('dist/exim-pipe.cjs', join(lib, 'exim-pipe.cjs'));
  const native = nativeModules(arch).map((file) => join('node_modules', file));
  const source = arch === process.arch ? '.' : fetchModules(join(folder, 'fetched'), arch);
  for (const file of native) cpSync(join(source, file), join(lib, file));
  if (canBeForNode20(arch)) {
    const addon = addonOf('node_modules');
    native.push(addon);
    cpSync(addon, join(lib, addon));
    unlinkNode(join(lib, addon));
  }
  // For debian/rules.
  const versions = canBeForNode20(arch) ? SINCE_20 : SINCE_22;
  writeFileSync(join(folder, 'substvars'), `nodejs:Depends=${versions}\n`);
  // For --version.
  writeFileSync(join(lib, 'package.json'), `${JSON.stringify({ version: version() })}\n`);
  const completions = join(folder, 'completions');
  mkdirSync(completions);
  const script = run(process.execPath, [join(lib, 'appengine-mailer.mjs'), 'completion']);
  writeFileSync(join(completions, 'appengine-mailer'), script);

  const packagesOf = (debianPackage: keyof typeof contents) => {
    const programs = contents[debianPackage];
    const files = programs.flatMap((program) => bundled.get(program) ?? []);
    const packages = new Set([...files, ...native].flatMap((file) => packageOf(file) ?? []));
    const doc = join(folder, 'doc', debianPackage);
    mkdirSync(doc, { recursive: true });
    writeFileSync(join(doc, 'sbom.cdx.json'), sbom(debianPackage, packages));
    return packages;
  };
  return {
    'appengine-mailer': packagesOf('appengine-mailer'),
    'appengine-mailer-proxy': packagesOf('appengine-mailer-proxy'),
  };
}

/** Bundles the programs; returns the files that are in each. */
function bundlePrograms(outdir: string): Map<string, string[]> {
  const { metafile, files } = bundle({ entryPoints, outdir });
  mkdirSync(outdir, { recursive: true });
  for (const { path, text } of files) {
    // The Node.js that the package depends on, not the first of somebody's PATH.
    const program = text.replace(/^#!.*/, '#!/usr/bin/node');
    writeFileSync(path, program, { mode: program.startsWith('#!') ? 0o755 : 0o644 });
  }
  return new Map(
    Object.entries(metafile.outputs).map(([path, { inputs }]) => [
      basename(path, '.mjs'),
      Object.keys(inputs),
    ]),
  );
}

/** The Node.js that have Node-API 10, or besides them what was compiled for. */
const SINCE_22 = 'nodejs (>= 22.14)';
const SINCE_20 = 'nodejs (>= 20.19), nodejs (<< 21) | nodejs (>= 22.14)';

/** Has npm install the packages of the lock file for another processor, and returns the folder that has node_modules. */
function fetchModules(folder: string, arch: string): string {
  mkdirSync(folder);
  for (const file of ['package.json', 'package-lock.json', '.npmrc']) {
    cpSync(file, join(folder, file));
  }
  run('npm', ['ci', '--omit=dev', '--os=linux', `--cpu=${arch}`, '--prefix', folder]);
  return folder;
}

/** Debian's Node.js links what is built with it to libnode.so: any Node.js has that code, few by that name. */
function unlinkNode(addon: string): void {
  const [, library] = /\[(libnode\.so[^\]]*)\]/.exec(run('readelf', ['-d', addon])) ?? [];
  if (library) run('patchelf', ['--remove-needed', library, addon]);
}

/** The folder of the npm package that a file is of, if it is of one. */
function packageOf(file: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0];
}

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${program} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
}
