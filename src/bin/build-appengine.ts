import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// `npm run build:appengine [-- FOLDER]`: makes a folder that `gcloud app deploy` takes, and `gcloud run deploy --source`.
// The files of its administrator stay when it is made again: app.yaml, and files of keys.

const checkout = fileURLToPath(new URL('../../', import.meta.url));
const folder = process.argv[2] ?? join(checkout, 'build/appengine');

interface Package {
  [field: string]: unknown;
  dev?: boolean;
}

const { name, version, license, type, dependencies, optionalDependencies } = read('package.json');
const engines = { node: '>=22.14' }; // Where nothing has to be compiled.
const root = { name, version, license, dependencies, optionalDependencies, engines };
const start = [
  // In /tmp anybody may write: root, as which it runs in some containers, keeps its ledger in a folder of its own.
  'mkdir -p -m 700 "${TMPDIR:-/tmp}/ledger" &&',
  'APPENGINE_MAILER_LEDGER="${APPENGINE_MAILER_LEDGER:-${TMPDIR:-/tmp}/ledger/ledger.db}"',
  // The platform stops the process that it started: exec leaves no shell in between.
  'APPENGINE_MAILER_BACKEND=${APPENGINE_MAILER_BACKEND:-smtp} exec node dist/bin/appengine-mailer.js',
  'proxy --listen 0.0.0.0:$PORT',
].join(' ');
const lock = read('package-lock.json');
const locked = Object.entries(lock['packages'] as Record<string, Package>)
  .filter(([, { dev }]) => !dev)
  .map(([path, entry]) => [path, path === '' ? root : entry]);

rmSync(join(folder, 'dist'), { recursive: true, force: true });
cpSync(join(checkout, 'dist'), join(folder, 'dist'), {
  recursive: true,
  filter: (source) => !/\.d\.m?ts$/.test(source),
});
cpSync(join(checkout, 'LICENSE'), join(folder, 'LICENSE'));
cpSync(join(checkout, '.npmrc'), join(folder, '.npmrc'));
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
  dependencies,
  optionalDependencies,
});
write('package-lock.json', { ...lock, packages: Object.fromEntries(locked) });
console.log(
  `${folder} is made: GMAIL_SECRET_KEYS and the settings of app.yaml are yours; then gcloud app deploy, or gcloud run deploy --source`,
);

function read(file: string): Package {
  return JSON.parse(readFileSync(join(checkout, file), 'utf8')) as Package;
}

function write(file: string, content: object): void {
  writeFileSync(join(folder, file), `${JSON.stringify(content, undefined, 2)}\n`);
}
