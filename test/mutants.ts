import { spawn } from 'node:child_process';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { generator, type Random } from './support/random.ts';

// npm run test:mutants [-- --each N --seed N PART…]: changes one operator, condition or number of a file that
// decides something, in a copy of the checkout, and runs the nearest tests. A mutant that they let pass is
// printed: a test is missing, or it behaves the same. N mutants of each file are chosen by the seed; --each 0
// takes all. With a PART only files whose path contains it.

/** The pure decisions, and the tests that are nearest to each: none that starts programs, which have no mutants. */
const targets: Record<string, string[]> = {
  'drain/backoff.ts': ['unit/backoff'],
  'drain/concurrency.ts': ['unit/concurrency', 'unit/endpoint'],
  'drain/decide-outcome.ts': ['unit/decide-outcome'],
  'drain/endpoint.ts': ['unit/endpoint'],
  'drain/plan-turn.ts': ['unit/plan-turn'],
  'drain/retry-times.ts': ['unit/backoff', 'unit/limits'],
  'mail/address.ts': ['unit/address'],
  'mail/cut.ts': ['unit/printable'],
  'mail/delivery-report.ts': ['unit/delivery-report'],
  'mail/enhanced-status.ts': ['unit/enhanced-status'],
  'mail/headers.ts': ['unit/headers', 'unit/without-bcc'],
  'mail/without-bcc.ts': ['unit/without-bcc'],
  'spool/claim.ts': ['spool/claim', 'spool/model'],
  'spool/lifetime.ts': ['unit/decide-outcome', 'spool/operate', 'spool/observed-time'],
  'spool/report.ts': ['spool/report', 'spool/model'],
  'wire/diagnose.ts': ['unit/diagnose'],
  'wire/frame.ts': ['unit/frame', 'unit/sign-and-frame'],
  'wire/sign.ts': ['unit/sign-and-frame'],
  'wire/verdicts.ts': ['unit/verdicts', 'unit/sign-and-frame', 'wire/attempt'],
};

/** A mutant that makes a test run for so long is found. */
const TIMEOUT_MS = 180_000;

/** What is changed, and into what. prettier puts spaces around operators, and types have no such ones. */
const mutations: [from: RegExp, to: (found: string) => string[]][] = [
  [/ [<>] /g, (found) => [` ${found.trim()}= `]],
  [/ [<>]= /g, (found) => [` ${found.trim()[0]} `]],
  [/ === /g, () => [' !== ']],
  [/ !== /g, () => [' === ']],
  [/ && /g, () => [' || ']],
  [/ \|\| /g, () => [' && ']],
  [/ \? /g, () => [' && false ? ', ' || true ? ']],
  [/ \+ /g, () => [' - ']],
  [/ - /g, () => [' + ']],
  [/ \* /g, () => [' / ']],
  [/ \/ /g, () => [' * ']],
  [/\bMath\.min\b/g, () => ['Math.max']],
  [/\bMath\.max\b/g, () => ['Math.min']],
  [/\btrue\b/g, () => ['false']],
  [/\bfalse\b/g, () => ['true']],
  [/(?<=[(\s])!(?=[\w(])/g, () => ['']],
  [/(?<=[\s([,-])\d+\b(?![_\d.]*n\b)/g, (found) => [String(Number(found) + 1)]],
];

interface Mutant {
  file: string;
  tests: string[];
  text: string;
  line: number;
  /** The line as it is, and as it is changed. */
  was: string;
  is: string;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    each: { type: 'string', default: '8' },
    seed: { type: 'string', default: '20121127' },
  },
});
const chosen = Object.entries(targets).filter(
  ([file]) => positionals.length === 0 || positionals.some((part) => file.includes(part)),
);
const { below } = generator(Number(values.seed));
const each = Number(values.each) || Infinity;
const mutants = chosen.flatMap(([file, tests]) => sample(mutantsOf(file, tests), each, below));
const survivors: Mutant[] = [];
const copies = Array.from({ length: availableParallelism() }, copyOfCheckout);
try {
  await inEachCopy(chosen, async (copy, [file, tests]) => {
    if (await testsFail(copy, tests))
      throw new Error(`the tests of ${file} fail as it is: ${tests.join()}`);
  });
  await inEachCopy([...mutants], async (copy, mutant) => {
    const path = join(copy, 'src', mutant.file);
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, mutant.text);
    if (!(await testsFail(copy, mutant.tests))) survivors.push(mutant);
    writeFileSync(path, text);
  });
} finally {
  for (const copy of copies) rmSync(copy, { recursive: true });
}
survivors.sort((a, b) => (a.file < b.file ? -1 : 1) || a.line - b.line);
for (const { file, line, was, is } of survivors)
  console.log(`src/${file}:${line}\n  - ${was}\n  + ${is}`);
console.log(`${mutants.length} mutants, ${survivors.length} survived, seed ${values.seed}`);

/** All mutants of a file. */
function mutantsOf(file: string, tests: string[]): Mutant[] {
  const source = readFileSync(join('src', file), 'utf8');
  const code = withoutTexts(source);
  return mutations.flatMap(([from, to]) =>
    [...code.matchAll(from)].flatMap(({ 0: found, index }) =>
      to(found).map((other) => {
        const text = source.slice(0, index) + other + source.slice(index + found.length);
        const line = source.slice(0, index).split('\n').length;
        const at = (lines: string) => lines.split('\n')[line - 1]?.trim() ?? '';
        return { file, tests, text, line, was: at(source), is: at(text) };
      }),
    ),
  );
}

/** The source with blanks in place of comments, strings, regular expressions and imports: what is left is code. */
function withoutTexts(source: string): string {
  const texts =
    /\/\*[^]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(?<=[(,=:]\s*)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/\w*|^import [^;]*;|^(?:export )?(?:interface|type) [^]*?^(?:\}|.*;$)/gm;
  return source.replace(texts, (text) => text.replaceAll(/[^\n]/g, '_'));
}

function sample<T>(all: T[], count: number, choose: Random['below']): T[] {
  const rest = [...all];
  const taken: T[] = [];
  while (taken.length < count && rest.length > 0)
    taken.push(...rest.splice(choose(rest.length), 1));
  return taken;
}

function copyOfCheckout(): string {
  const copy = mkdtempSync(join(tmpdir(), 'appengine-mailer-mutants-'));
  const linked = new Set(['node_modules', 'dist']);
  for (const part of readdirSync('.')) {
    if (linked.has(part)) symlinkSync(resolve(part), join(copy, part));
    else if (part !== 'build' && part !== '.git')
      cpSync(part, join(copy, part), { recursive: true });
  }
  return copy;
}

/** Does some work with each item, in as many copies at the same time as there are. */
async function inEachCopy<T>(items: T[], work: (copy: string, item: T) => Promise<void>) {
  const inTurn = async (copy: string) => {
    for (let item; (item = items.shift()) !== undefined;) await work(copy, item);
  };
  await Promise.all(copies.map(inTurn));
}

/** Whether one of these tests fails, or does not end. */
async function testsFail(copy: string, tests: readonly string[]): Promise<boolean> {
  for (const test of tests) {
    const args = ['--import', 'tsx', `test/${test}.test.ts`];
    const child = spawn(process.execPath, args, {
      cwd: copy,
      stdio: 'ignore',
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    const code = await new Promise((done) => child.on('close', done));
    if (code !== 0) return true;
  }
  return false;
}
