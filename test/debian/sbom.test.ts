import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { changelog } from '../../debian/make/changelog.ts';
import { sbom } from '../../debian/make/sbom.ts';
import { inCheckout, run } from '../support/program.ts';

interface Component {
  'bom-ref': string;
  purl?: string;
  [field: string]: unknown;
}

interface Document {
  bomFormat: string;
  specVersion: string;
  serialNumber: string;
  metadata: { timestamp: string; component: Component };
  components: Component[];
  dependencies: { ref: string; dependsOn: string[] }[];
}

const lock = JSON.parse(readFileSync(inCheckout('package-lock.json'), 'utf8')) as {
  packages: Record<string, { dev?: boolean }>;
};
const production = Object.entries(lock.packages)
  .filter(([path, { dev }]) => path !== '' && !dev)
  .map(([path]) => path);

test('a bill of materials says of an npm package what npm sbom says, which leaves some out', async (t) => {
  const words = ['sbom', '--sbom-format=cyclonedx', '--omit=dev', '--package-lock-only'];
  const { HOME } = process.env;
  const told = await run(t, 'npm', words, { cwd: inCheckout('.'), env: { HOME } });
  if (told.stderr.includes('Unknown command')) return t.skip('this npm has no sbom');
  assert.equal(told.code, 0, told.stderr);
  const theirs = JSON.parse(told.stdout.toString()) as Document;
  const ours = JSON.parse(sbom('appengine-mailer', production)) as Document;
  assert.deepEqual([ours.bomFormat, ours.specVersion], [theirs.bomFormat, theirs.specVersion]);
  const byRef = new Map(ours.components.map((each) => [each['bom-ref'], each]));
  for (const { 'bom-ref': ref, type, version, hashes, licenses } of theirs.components) {
    const { name: _, purl, ...rest } = byRef.get(ref) ?? ({} as Partial<Component>);
    assert.deepEqual(rest, { 'bom-ref': ref, type, version, hashes, licenses });
    assert.equal(purl, `pkg:npm/${ref.replace(/^@/, '%40')}`);
  }
  return undefined;
});

test('a bill of materials is the same whenever it is made, and another for other contents', () => {
  const [made, again, other] = [production, production.toReversed(), production.slice(1)].map(
    (paths) => sbom('appengine-mailer', paths),
  );
  assert.equal(again, made);
  const [first, second] = [made, other].map((text = '') => JSON.parse(text) as Document);
  assert.notEqual(second?.serialNumber, first?.serialNumber);
  assert.match(
    first?.serialNumber ?? '',
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  const { version, date } = changelog();
  assert.equal(first?.metadata.timestamp, date.toISOString());
  assert.equal(first.metadata.component['bom-ref'], `appengine-mailer@${version}`);
  const refs = first.components.map((component) => component['bom-ref']);
  assert.deepEqual(refs, [...new Set(refs)]);
  assert.deepEqual(first.dependencies, [{ ref: `appengine-mailer@${version}`, dependsOn: refs }]);
});

test('a package that the lock file does not have is an error', () => {
  assert.throws(() => sbom('appengine-mailer', ['node_modules/other']), {
    message: 'package-lock.json has no node_modules/other',
  });
});
