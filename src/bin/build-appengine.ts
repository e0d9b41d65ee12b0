import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// `npm run build:appengine [-- FOLDER]`: makes a folder that `gcloud app deploy` takes. What is its
// administrator's stays when it is made again: app.yaml, and files of keys.

const checkout = fileURLToPath(new URL('../../', import.meta.url));
const folder = process.argv[2] ?? join(checkout, 'build/appengine');

/**
 * The program that the install script of better-sqlite3 has fetch a binary from a web site, without a hash.
 * Where it is not installed, the script goes on with compiling.
 */
const FETCHES_BINARIES = 'prebuild-install';

interface Package {
  [field: string]: unknown;
  dev?: boolean;
  dependencies?: Record<string, string>;
}

const { name, version, license, type, engines, dependencies } = read('package.json');
const start = [
  // App Engine stops the process that it started: exec leaves no shell in between.
  'APPENGINE_MAILER_BACKEND=${APPENGINE_MAILER_BACKEND:-smtp} exec node dist/bin/appengine-mailer.js',
  'proxy --listen 0.0.0.0:$PORT --ledger "${TMPDIR:-/tmp}/ledger.db"',
].join(' ');
const lock = read('package-lock.json');
const locked = Object.entries(lock['packages'] as Record<string, Package>)
  .filter(([path, { dev }]) => !dev && path !== `node_modules/${FETCHES_BINARIES}`)
  .map(([path, entry]) => [
    path,
    path === '' ? { name, version, license, dependencies, engines } : withoutFetching(entry),
  ]);

rmSync(join(folder, 'dist'), { recursive: true, force: true });
cpSync(join(checkout, 'dist'), join(folder, 'dist'), {
  recursive: true,
  filter: (source) => !/\.d\.m?ts$/.test(source),
});
cpSync(join(checkout, 'LICENSE'), join(folder, 'LICENSE'));
cpSync(join(checkout, 'src/bin/appengine/app.yaml'), join(folder, 'app.yaml'), { force: false });
writeFileSync(join(folder, '.gcloudignore'), '.gcloudignore\nnode_modules/\n');
write('package.json', {
  name,
  version,
  private: true,
  license,
  type,
  engines,
  scripts: { start },
  allowScripts: { 'better-sqlite3': true, 'unix-dgram': true },
  dependencies,
});
write('package-lock.json', { ...lock, packages: Object.fromEntries(locked) });
console.log(
  `${folder} is made: GMAIL_SECRET_KEYS and the settings of app.yaml are yours; then gcloud app deploy`,
);

function withoutFetching(entry: Package): Package {
  if (!entry.dependencies?.[FETCHES_BINARIES]) return entry;
  const { [FETCHES_BINARIES]: _, ...others } = entry.dependencies;
  return { ...entry, dependencies: others };
}

function read(file: string): Package {
  return JSON.parse(readFileSync(join(checkout, file), 'utf8')) as Package;
}

function write(file: string, content: object): void {
  writeFileSync(join(folder, file), `${JSON.stringify(content, undefined, 2)}\n`);
}
