import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';

/** What --help tells of a command: options as --NAME or -N, and the commands below it. */
interface Help {
  words: string[];
  names: string[];
}

/** Asks a command for help, and all those below it. */
async function helpOf(t: TestContext, ...words: string[]): Promise<Help[]> {
  const [program = '', ...args] = words;
  const file = inCheckout(`dist/bin/${program}.js`);
  const { code, stdout } = await run(t, process.execPath, [file, ...args, '--help']);
  assert.equal(code, 0);
  const lines = stdout.toString().split('\n');
  const options = lines.flatMap(
    (line) => /^ {2,6}(-[^\s,]+(?:, -[^\s,]+)*)/.exec(line)?.[1]?.split(', ') ?? [],
  );
  const start = `  ${words.join(' ')} `;
  const commands = lines
    .filter((line) => line.startsWith(start))
    .flatMap((line) => /^[a-z]+/.exec(line.slice(start.length)) ?? []);
  const below = [];
  for (const command of commands) below.push(...(await helpOf(t, ...words, command)));
  return [{ words, names: [...options, ...commands] }, ...below];
}

/** The page that describes a command. */
function pageOf([program, command = '']: readonly string[]): string {
  if (program === 'gmail') return 'gmail.1';
  const own = ['queue', 'exim', 'proxy', 'ledger'].includes(command);
  return own ? `appengine-mailer-${command}.8` : 'appengine-mailer.8';
}

const pages = new Map(
  readdirSync(inCheckout('debian/man')).map((page) => [
    page,
    readFileSync(inCheckout(`debian/man/${page}`), 'utf8'),
  ]),
);

/** Options, as they are marked up in a page. */
function optionsIn(page: string): string[] {
  return [...(pages.get(page)?.matchAll(/^\..*\bFl\b.*$/gm) ?? [])].flatMap(([line]) =>
    [...line.matchAll(/(?<= )-[a-z\d-]+|\bFl (?:s\b|s$)/g)].map(([name]) =>
      name === 'Fl s' ? '-s' : `-${name}`,
    ),
  );
}

/** Words that are typed as they are: commands and choices. */
function wordsIn(page: string): string[] {
  const macros = pages.get(page)?.matchAll(/\bCm ([a-z0-9 |]+)/g) ?? [];
  return [...macros].flatMap(([, words = '']) => words.split(/[ |]+/));
}

test('the manual has every command and option that --help has, and no other', async (t) => {
  const helps = [...(await helpOf(t, 'appengine-mailer')), ...(await helpOf(t, 'gmail'))];
  for (const { words, names } of helps) {
    const said = new Set([...optionsIn(pageOf(words)), ...wordsIn(pageOf(words))]);
    const missing = names.filter((name) => !said.has(name));
    assert.deepEqual(missing, [], `${pageOf(words)} lacks them, of ${words.join(' ')}`);
  }
  const known = new Set(helps.flatMap(({ names }) => names));
  for (const [page, text] of pages) {
    const commands = [...text.matchAll(/^\.It Cm ([a-z]+)$/gm)].map(([, name = '']) => name);
    const unknown = [...optionsIn(page), ...commands].filter((name) => !known.has(name));
    assert.deepEqual(unknown, [], `${page} has them, and no program`);
  }
});

for (const page of pages.keys()) {
  test(`${page} is well-formed`, needs('mandoc'), async (t) => {
    const { code, stdout } = await run(t, '/usr/bin/mandoc', [
      '-Tlint',
      '-Wwarning',
      inCheckout(`debian/man/${page}`),
    ]);
    assert.equal(code, 0, stdout.toString());
  });
}
