// Runs the tests (npm test): all of them but those of the packages, which boot machines (npm run
// test:package), or those whose path contains one of the arguments. What fails is told again at the end.
// With --long: those that have a long form, in it, one after the other, and a table of their figures.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Folders in the order of what fails fastest. */
const FOLDERS = [
  'unit',
  'spool',
  'sim',
  'wire',
  'v1',
  'client',
  'cli',
  'proxy',
  'appengine',
  'drain',
  'security',
  'debian',
];

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
  .filter((name) => !long || isLong(name))
  .toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));

if (files.length === 0) {
  console.error(`no test file has ${wanted.join(' or ')} in its path`);
  process.exit(64);
}

/** @type {{ name: string, output: string }[]} */
const failures = [];
const begin = performance.now();
const folder = mkdtempSync(join(tmpdir(), 'appengine-mailer-figures-'));
const figures = join(folder, 'figures');
writeFileSync(figures, '');
if (long || ofPackages || files.length === 1) await oneByOne();
else await severalAtOnce();
if (long) printFigures();
rmSync(folder, { recursive: true });
for (const { name, output } of failures) console.log(`\n${name} failed:\n${essence(output)}`);
if (failures.length > 0) {
  console.log(`\n${failures.length} failed: ${failures.map(({ name }) => name).join(' ')}`);
}
console.log(`${files.length} files, ${seconds(begin)}`);
process.exitCode = failures.length > 0 ? 1 : 0;

async function oneByOne() {
  for (const name of files) {
    if (!(await run(name, [name], 'inherit')).passed)
      failures.push({ name, output: '(see above)' });
  }
}

/**
 * The unit tests are one process, and come first. Then more than there are processors, since most tests
 * wait more than they work; those that have a long form are heavy, and one at a time as long as there are
 * others.
 */
async function severalAtOnce() {
  const unit = files.filter((name) => name.startsWith('test/unit/'));
  const rest = files.filter((name) => !unit.includes(name));
  const heavy = rest.filter(isLong);
  const light = rest.filter((name) => !heavy.includes(name));
  if (unit.length > 0) await report('test/unit/', unit);
  /** @param {string[][]} queues */
  const inTurn = async (...queues) => {
    for (let name; (name = queues.find((queue) => queue.length > 0)?.shift());) {
      await report(name, [name]);
    }
  };
  const lanes = Array.from({ length: 2 * availableParallelism() - 1 }, () => inTurn(light, heavy));
  await Promise.all([inTurn(heavy, light), ...lanes]);
}

/**
 * Runs test files in one process and prints a line about them.
 * @param {string} name
 * @param {readonly string[]} paths
 */
async function report(name, paths) {
  const start = performance.now();
  const { passed, output } = await run(name, paths, 'pipe');
  if (!passed) failures.push({ name, output });
  const count = (/** @type {string} */ what) =>
    Number(new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(output)?.[1] ?? 0);
  const skipped = count('skipped') > 0 ? `, ${count('skipped')} skipped` : '';
  const tests = `${count('tests')} tests${skipped}`;
  console.log(`${passed ? '✔' : '✖'} ${name.padEnd(48)} ${seconds(start).padStart(8)}  ${tests}`);
}

/**
 * @param {string} name
 * @param {readonly string[]} paths
 * @param {'inherit' | 'pipe'} output Where the report goes.
 * @returns {Promise<{ passed: boolean, output: string }>}
 */
async function run(name, paths, output) {
  const imports = paths.map((path) => `await import('${pathToFileURL(path).href}');`).join('\n');
  const child = spawn(
    process.execPath,
    [
      '--import',
      'tsx',
      '--import',
      './test/support/tsx-in-threads.mjs',
      '--test-reporter=spec',
      ...(paths.length === 1 ? paths : ['--input-type=module', '--eval', imports]),
    ],
    {
      stdio: ['ignore', output, output],
      env: { ...process.env, ...(long && { LONG: '1', LONG_FIGURES: figures }) },
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    },
  );
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece) => (text += piece));
  }
  const [code, signal] = await new Promise((resolve) => {
    child.on('close', (...end) => resolve(end));
  });
  if (signal !== null)
    text += `${name} was ended by ${signal}, after ${timeoutMs / 1000} s at most\n`;
  return { passed: code === 0, output: text };
}

/**
 * What a report says of its failures: seeds and folders that were kept, and the failures themselves.
 * @param {string} output
 */
function essence(output) {
  const at = output.indexOf('\n✖ failing tests:\n');
  const diagnostics = new Set(output.slice(0, at).match(/^ *ℹ (?:seed|kept) .*$/gm));
  return at < 0 ? output : `${[...diagnostics].join('\n')}${output.slice(at)}`;
}

function printFigures() {
  for (const line of readFileSync(figures, 'utf8').split('\n').filter(Boolean)) {
    const { what, figures: measured } = JSON.parse(line);
    console.log(what);
    for (const [name, figure] of Object.entries(measured)) {
      console.log(`    ${name.padEnd(40)} ${figure}`);
    }
  }
}

/** @param {string} name */
function isLong(name) {
  return /support\/(?:figures|every-step)\.ts/.test(readFileSync(name, 'utf8'));
}

/** @param {string} name */
function rank(name) {
  const at = FOLDERS.indexOf(name.split('/')[1] ?? '');
  return at < 0 ? FOLDERS.length : at;
}

/** @param {number} since */
function seconds(since) {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
