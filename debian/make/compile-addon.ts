import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

/** What Debian hardens its own packages with (dpkg-buildflags, hardening=+all), for any distribution. */
const COMPILER = '-fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2';
const LINKER = '-Wl,-z,relro -Wl,-z,now';

/** The better-sqlite3 of Node.js 20, which has no binary in its package. */
const PACKAGE = 'better-sqlite3-node20';

/**
 * Compiles better-sqlite3 for Node.js 20 below `nodeModules` with node-gyp, which `npm run` has in PATH.
 * Install scripts do not run (.npmrc): they would take binaries and Node's headers from web sites. The
 * result is the same bytes in every folder.
 */
export function compileAddon(nodeModules: string): void {
  const folder = resolve(nodeModules, PACKAGE);
  const args = [
    'rebuild',
    '--silent',
    '--jobs=max',
    `--directory=${folder}`,
    `--nodedir=${headersPrefix()}`,
  ];
  console.log(`${PACKAGE} is compiled`);
  const { status, error, stdout, stderr } = spawnSync('node-gyp', args, {
    encoding: 'utf8',
    env: { ...process.env, CFLAGS: COMPILER, CXXFLAGS: COMPILER, LDFLAGS: LINKER },
  });
  if (status === 0) return;
  throw new Error(`node-gyp ${args.join(' ')} failed: ${error?.message ?? stdout + stderr}`);
}

/** Whether this Node.js loads what was compiled below `nodeModules`. */
export function isCompiled(nodeModules: string): boolean {
  try {
    createRequire(import.meta.url)(addonOf(resolve(nodeModules)));
    return true;
  } catch {
    return false;
  }
}

/** The file that it is compiled to. */
export function addonOf(nodeModules: string): string {
  return join(nodeModules, PACKAGE, 'build/Release/better_sqlite3.node');
}

/** Where Node's own C headers are, in include/node: beside this Node.js, or where npm is told. */
function headersPrefix(): string {
  const told = process.env['npm_config_nodedir'];
  const prefix = told ?? resolve(process.execPath, '../..');
  const file = join(prefix, 'include/node/node_version.h');
  const { version, versions } = process;
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // Said below.
  }
  if (new RegExp(`^#define NODE_MODULE_VERSION ${versions.modules}$`, 'm').test(text))
    return prefix;
  throw new Error(
    `${file} is not there, or not of Node.js ${version}: install the headers of this Node.js (Debian: ` +
      'libnode-dev), or set npm_config_nodedir to the folder that has them in include/node',
  );
}
