import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { proxyOptions } from '../../src/proxy/command.ts';
import { filterOptions } from '../../src/cli/queue/filter.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';

/** What --help tells of a command: options as --NAME or -N, and the commands below it. */
interface Help {
  words: string[];
  /** All names of each option. */
  options: string[][];
  /** The commands below it. */
  commands: string[];
}

/** Asks a command for help, and all those below it. */
async function helpOf(t: TestContext, ...words: string[]): Promise<Help[]> {
  const [program = '', ...args] = words;
  const file = inCheckout(`dist/bin/${program}.js`);
  const { code, stdout } = await run(t, process.execPath, [file, ...args, '--help']);
  assert.equal(code, 0);
  const lines = stdout.toString().split('\n');
  const options = lines.flatMap((line) => [
    /^ {2,6}(-[^\s,]+(?:, -[^\s,]+)*)/.exec(line)?.[1]?.split(', ') ?? [],
  ]);
  const start = `  ${words.join(' ')} `;
  const commands = lines
    .filter((line) => line.startsWith(start))
    .flatMap((line) => /^[a-z]+/.exec(line.slice(start.length)) ?? []);
  const below = [];
  for (const command of commands) below.push(...(await helpOf(t, ...words, command)));
  const given = options.filter((names) => names.length > 0);
  return [{ words, options: given, commands }, ...below];
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

/** Options, as they are marked up in a page or a part of one. */
function optionsIn(text: string | undefined): string[] {
  return [...(text?.matchAll(/^\..*\bFl\b.*$/gm) ?? [])].flatMap(([line]) =>
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

function namesOf({ options, commands }: Help): string[] {
  return [...options.flat(), ...commands];
}

test('the manual has every command and option that --help has, and no other', async (t) => {
  const helps = [...(await helpOf(t, 'appengine-mailer')), ...(await helpOf(t, 'gmail'))];
  for (const help of helps) {
    const { words } = help;
    const names = namesOf(help);
    const said = new Set([...optionsIn(pages.get(pageOf(words))), ...wordsIn(pageOf(words))]);
    const missing = names.filter((name) => !said.has(name));
    assert.deepEqual(missing, [], `${pageOf(words)} lacks them, of ${words.join(' ')}`);
  }
  const known = new Set(helps.flatMap(namesOf));
  for (const [page, text] of pages) {
    const commands = [...text.matchAll(/^\.It Cm ([a-z]+)$/gm)].map(([, name = '']) => name);
    const unknown = [...optionsIn(text), ...commands].filter((name) => !known.has(name));
    assert.deepEqual(unknown, [], `${page} has them, and no program`);
  }
});

/** The blocks of a synopsis that are about a command, each from its .Nm on. */
function synopsisOf(words: readonly string[]): string {
  const page = pages.get(pageOf(words)) ?? '';
  const synopsis = /^\.Sh SYNOPSIS\n([^]*?)^\.Sh /m.exec(page)?.[1] ?? '';
  const name = /^\.Nm (.*)$/m.exec(page)?.[1] ?? '';
  return synopsis
    .split(/^(?=\.Nm)/m)
    .filter((block) => {
      const [, called = ''] = /^\.Nm ?(.*)/.exec(block) ?? [];
      const commands = /^\.(?:Cm|Op Cm) (.*)$/m.exec(block)?.[1]?.split(' | ') ?? [''];
      return commands.some((each) => `${called || name} ${each}`.trim() === words.join(' '));
    })
    .join('');
}

const EVERY = new Set(['--help', '--version']);
/** What a synopsis has for the options that choose messages; the description lists them. */
const FILTER = Object.keys(filterOptions).map((name) => `--${name}`);

/** The same for the options of the proxy, which its check takes besides. */
const PROXY = Object.keys(proxyOptions).map((name) => `--${name}`);

test('the synopsis of each command has all of its options, and no other', async (t) => {
  const helps = [...(await helpOf(t, 'appengine-mailer')), ...(await helpOf(t, 'gmail'))];
  let compared = 0;
  for (const { words, options, commands } of helps) {
    if (commands.length > 0) continue;
    const synopsis = synopsisOf(words);
    const said = [
      ...optionsIn(synopsis),
      ...(/\bAr filter\b/.test(synopsis) ? FILTER : []),
      ...(/\bAr proxy options\b/.test(synopsis) ? PROXY : []),
    ];
    const missing = options.filter((names) => !names.some((each) => said.includes(each)));
    const wanted = missing.flat().filter((name) => !EVERY.has(name));
    assert.deepEqual(wanted, [], `the synopsis of ${words.join(' ')} lacks them`);
    const unknown = said.filter((name) => !options.flat().includes(name));
    assert.deepEqual(unknown, [], `the synopsis of ${words.join(' ')} has them, and no program`);
    compared += 1;
  }
  assert.ok(compared > 15, `${compared}`);
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
