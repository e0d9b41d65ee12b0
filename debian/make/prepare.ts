import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { version } from '../../src/host/version.ts';

/** What runs of the packages that are not bundled: they load, or are, native code. */
const nativeModules = [
  'better-sqlite3/build/Release/better_sqlite3.node',
  'unix-dgram/package.json',
  'unix-dgram/lib/unix_dgram.js',
  'unix-dgram/build/Release/unix_dgram.node',
  'bindings/package.json',
  'bindings/bindings.js',
  'file-uri-to-path/package.json',
  'file-uri-to-path/index.js',
];

/** Programs that are bundled here; exim-pipe.cjs is of `npm run build`. */
const entryPoints = {
  'appengine-mailer': 'src/bin/appengine-mailer.ts',
  gmail: 'src/bin/gmail.ts',
  'migrate-spool': 'src/bin/migrate-spool.ts',
  'html-as-text-worker': 'src/proxy/backends/html-as-text-worker.mjs',
};

/**
 * Fills a folder with what the Debian packages ship of our program: `lib` has one file a program and
 * the native modules, `completions` what bash reads. Needs `npm run build` before. Returns the names
 * of the npm packages whose code is in it.
 */
export function prepare(folder: string): Set<string> {
  rmSync(folder, { recursive: true, force: true });
  const lib = join(folder, 'lib');
  const packages = bundle(lib);
  cpSync('dist/exim-pipe.cjs', join(lib, 'exim-pipe.cjs'));
  for (const file of nativeModules) {
    const from = join('node_modules', file);
    cpSync(from, join(lib, from));
    if (from.endsWith('.node')) unlinkNode(join(lib, from));
    packages.add(packageOf(from) ?? from);
  }
  // For --version.
  writeFileSync(join(lib, 'package.json'), `${JSON.stringify({ version: version() })}\n`);
  const completions = join(folder, 'completions');
  mkdirSync(completions);
  const script = run(process.execPath, [join(lib, 'appengine-mailer.mjs'), 'completion']);
  writeFileSync(join(completions, 'appengine-mailer'), script);
  return packages;
}

function bundle(outdir: string): Set<string> {
  const { metafile, outputFiles } = buildSync({
    entryPoints,
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    alias: { yargs: './debian/make/yargs.mjs' },
    platform: 'node',
    format: 'esm',
    target: 'node20',
    // Bundled packages that are CommonJS call require, which ES modules have not.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module';\nconst require = requireOf(import.meta.url);",
    },
    logLevel: 'warning',
    metafile: true,
    write: false,
  });
  mkdirSync(outdir, { recursive: true });
  for (const { path, text } of outputFiles) {
    // The Node.js that the package depends on, not the first of somebody's PATH.
    const program = text.replace(/^#!.*/, '#!/usr/bin/node');
    writeFileSync(path, program, { mode: program.startsWith('#!') ? 0o755 : 0o644 });
  }
  const used = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.keys(inputs));
  return new Set(used.flatMap((file) => packageOf(file) ?? []));
}

/** Debian's Node.js links what is built with it to libnode.so: any Node.js has that code, few by that name. */
function unlinkNode(addon: string): void {
  const [, library] = /\[(libnode\.so[^\]]*)\]/.exec(run('readelf', ['-d', addon])) ?? [];
  if (library) run('patchelf', ['--remove-needed', library, addon]);
}

function packageOf(file: string): string | undefined {
  return /^node_modules\/(?<name>@[^/]+\/[^/]+|[^/]+)/.exec(file)?.groups?.['name'];
}

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${program} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
}
