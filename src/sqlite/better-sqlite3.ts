import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import Latest from 'better-sqlite3';
import ForNode20 from 'better-sqlite3-node20';

/**
 * Version 13 of better-sqlite3 has binaries of Node-API 10 in its package: one fits each Node.js from 22.14 on, and crashes
 * an older one. Version 12 is compiled for Node.js 20 only; it aborts Node.js from 24.19 on when it collects a statement.
 */
const isLatest = Number(process.versions['napi']) >= 10;

/** Where the binaries are below node_modules, for this processor. */
export const binaries = {
  latest: `better-sqlite3/prebuilds/${process.platform}-${process.arch}.node`,
  node20: 'better-sqlite3-node20/build/Release/better_sqlite3.node',
};

/** The one that this Node.js loads. */
export const binaryFile = isLatest ? binaries.latest : binaries.node20;

const Chosen: typeof Latest = isLatest ? Latest : ForNode20;

/**
 * The class of the better-sqlite3 that fits this Node.js; nothing else in the project loads either version. Throws
 * NoBinaryError besides what better-sqlite3 throws.
 */
class Database extends Chosen {
  constructor(file?: string | Buffer, options?: Latest.Options) {
    super(file, { ...options, nativeBinding: binary() });
  }
}

/** The types, where the package has them. */
declare namespace Database {
  type Database = Latest.Database;
  type Statement<Parameters extends unknown[] = unknown[], Row = unknown> = Latest.Statement<
    Parameters,
    Row
  >;
}

export default Database;

/** There is no SQLite for this Node.js; the message says what there is and what to do. */
export class NoBinaryError extends Error {
  override readonly name = 'NoBinaryError';
}

/** The path of the binary, which is loaded when this returns. */
function binary(): string {
  const { version, versions, platform, arch } = process;
  const here = `Node.js ${version} (ABI ${versions.modules})`;
  const folders = require.resolve.paths(binaryFile) ?? [];
  const file = folders.map((folder) => join(folder, binaryFile)).find((each) => existsSync(each));
  if (file === undefined) {
    const found = installed(folders);
    const todo = isLatest
      ? 'install appengine-mailer again (in a checkout: npm ci)'
      : `${OTHER_NODE} (in a checkout: npm run build)`;
    throw new NoBinaryError(
      `${here} on ${platform}-${arch} needs ${binaryFile}, and there is ${found}: ${todo}`,
    );
  }
  try {
    require(file);
    return file;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_DLOPEN_FAILED') throw error;
    throw new NoBinaryError(
      `${here} cannot load ${file}, which is built for another: ${OTHER_NODE}`,
    );
  }
}

const OTHER_NODE =
  'install Node.js 22.14 or later, or an appengine-mailer that is built for this one';

/** The versions of better-sqlite3 that are in these folders instead. */
function installed(folders: readonly string[]): string {
  const files = folders
    .flatMap((folder) => [join(folder, 'better-sqlite3'), join(folder, 'better-sqlite3-node20')])
    .map((folder) => join(folder, 'package.json'))
    .filter((file) => existsSync(file));
  const found = files.map((file) => {
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    return `better-sqlite3 ${version} in ${dirname(file)}`;
  });
  return found.join(' and ') || 'none';
}

const require = createRequire(import.meta.url);
