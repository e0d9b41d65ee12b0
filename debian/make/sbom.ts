import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { changelog } from './changelog.ts';

/** An entry of package-lock.json. */
interface Locked {
  /** Where the folder has another name than the package. */
  name?: string;
  version: string;
  integrity: string;
  license: string;
}

interface Component {
  'bom-ref': string;
  name: string;
  [field: string]: unknown;
}

/**
 * The bill of materials of a Debian package: CycloneDX 1.5, in JSON, with the same entry for an npm package
 * as `npm sbom` has. `paths` are keys of package-lock.json, as node_modules/yargs. It is always the same for
 * the same code. `npm sbom`, which Debian's npm does not have, leaves out packages that are there in two
 * versions, and adds a random number, the time and what is not shipped.
 */
export function sbom(debianPackage: string, paths: Iterable<string>): string {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, Locked | undefined>;
  };
  const found = [...paths].toSorted().flatMap((path) => {
    const entry = lock.packages[path];
    if (!entry) throw new Error(`package-lock.json has no ${path}`);
    const component = npmComponent(path, entry);
    return component.name === 'better-sqlite3' ? [component, sqliteIn(path)] : [component];
  });
  // The same version may be in several folders.
  const byRef = new Map(found.map((component) => [component['bom-ref'], component]));
  const components = [...byRef.values()];
  const { version, date } = changelog();
  const ref = `${debianPackage}@${version}`;
  const content = {
    version: 1,
    metadata: {
      timestamp: date.toISOString(),
      component: { 'bom-ref': ref, type: 'application', name: debianPackage, version },
    },
    components,
    dependencies: [{ ref, dependsOn: [...byRef.keys()] }],
  };
  const document = {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(content))}`,
    ...content,
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function npmComponent(path: string, entry: Locked): Component {
  const { version, integrity, license } = entry;
  const name = entry.name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const [algorithm = '', digest = ''] = integrity.split('-');
  return {
    'bom-ref': `${name}@${version}`,
    type: 'library',
    name,
    version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    hashes: [
      {
        alg: algorithm.toUpperCase().replace('SHA', 'SHA-'),
        content: Buffer.from(digest, 'base64').toString('hex'),
      },
    ],
    licenses: license.includes(' ') ? [{ expression: license }] : [{ license: { id: license } }],
  };
}

/** The SQLite in a better-sqlite3, which has a version and vulnerabilities of its own. */
function sqliteIn(path: string): Component {
  const header = readFileSync(join(path, 'deps/sqlite3/sqlite3.h'), 'utf8');
  const version = /^#define SQLITE_VERSION +"(.*)"$/m.exec(header)?.[1];
  return {
    'bom-ref': `sqlite@${version}`,
    type: 'library',
    name: 'sqlite',
    version,
    cpe: `cpe:2.3:a:sqlite:sqlite:${version}:*:*:*:*:*:*:*`,
    licenses: [{ license: { id: 'blessing' } }],
  };
}

/** A UUID version 8 (RFC 9562, 5.8) that depends on the text alone. */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-8$3-8$4-$5');
}
