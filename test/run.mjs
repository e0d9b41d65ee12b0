// Runs the tests: all of them but those of the packages, which boot machines (npm run test:package), or
// those whose path contains one of the arguments. With --long first: those that have a long form, in it,
// and a table of their figures at the end.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [first, ...more] = process.argv.slice(2);
const long = first === '--long';
const wanted = long || first === undefined ? more : [first, ...more];
const ofPackages = wanted.some((part) => part.startsWith('test/package/'));
const timeoutMs = long ? 14_400_000 : ofPackages ? 1_200_000 : 600_000;

const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .map((name) => `test/${name}`)
  .filter((name) => name.endsWith('.test.ts'))
  .filter((name) =>
    wanted.length === 0
      ? !name.startsWith('test/package/')
      : wanted.some((part) => name.includes(part)),
  )
  .filter((name) => !long || /support\/(?:figures|every-step)\.ts/.test(readFileSync(name, 'utf8')))
  .toSorted();

if (files.length === 0) {
  console.error(`no test file has ${wanted.join(' or ')} in its path`);
  process.exit(64);
}

const folder = mkdtempSync(join(tmpdir(), 'appengine-mailer-figures-'));
const figures = join(folder, 'figures');
writeFileSync(figures, '');
const { status } = spawnSync(
  process.execPath,
  [
    '--import',
    'tsx',
    '--import',
    './test/support/tsx-in-threads.mjs',
    '--test',
    '--test-reporter=spec', // Failures again at the end: the rest is long.
    // Long forms are heavy: one at a time.
    `--test-concurrency=${long ? 1 : 2}`,
    `--test-timeout=${timeoutMs}`,
    ...files,
  ],
  { stdio: 'inherit', env: { ...process.env, ...(long && { LONG: '1', LONG_FIGURES: figures }) } },
);
for (const line of readFileSync(figures, 'utf8').split('\n').filter(Boolean)) {
  const { what, figures: measured } = JSON.parse(line);
  console.log(what);
  for (const [name, figure] of Object.entries(measured)) {
    console.log(`    ${name.padEnd(40)} ${figure}`);
  }
}
rmSync(folder, { recursive: true });
process.exitCode = status ?? 1;
