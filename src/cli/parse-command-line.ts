import yargs, { type Argv, type Options } from 'yargs';
import type { Command } from '../host/command.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import {
  Origins,
  readOptions,
  variableOf,
  type Option,
  type OptionTable,
} from '../host/options.ts';
import { version } from '../host/version.ts';

/** What the arguments of a program ask for: a command that is ready to run, or a text to print (--help). */
export type Asked =
  { command: Command; run: () => Promise<void> } | { command?: undefined; text: string };

/**
 * Parses the arguments of a program. Throws CommandError 64 for what the program does not understand, and what
 * readOptions throws.
 *
 * This is the only file that knows yargs. yargs finds the command and its words, and makes --help and completion; values
 * are read by readOptions, since yargs would take `--flag=no!` for false, make a list of an option that is given twice,
 * and refuse the variables of other commands.
 */
export async function parseCommandLine(program: Command, args: readonly string[]): Promise<Asked> {
  let asked: Asked | undefined;
  let text = '';
  // Completion takes the arguments that are given here.
  const parser = yargs([...args])
    .scriptName(program.name)
    // Bundled, yargs looks for no package.json (debian/make/yargs.mjs).
    .version(version())
    .locale('en')
    .parserConfiguration({ 'camel-case-expansion': false, 'parse-positional-numbers': false })
    .strict()
    .fail((message, error) => {
      if (error && error.name !== 'YError') throw error;
      const complaint = (message ?? error?.message ?? '').trim().replace(/\s+/g, ' ');
      throw usageError(program, args, complaint);
    });
  const choose = (command: Command, argv: Record<string, unknown>) => {
    if (!argv['help'] && !argv['version']) asked = prepare(command, argv, args);
  };
  if (program.run) addCommand(parser, { ...program, name: '$0' }, choose);
  else addParts(parser.usage(`$0 COMMAND\n\n${program.describe}.`), program, choose);
  if (args[0] === '--get-yargs-completions') {
    return { text: (await parser.getCompletion(args.slice(1))).join('\n') };
  }
  await parser.parseAsync([...args], {}, (_error, _argv, output) => {
    text = output;
  });
  return asked ?? { text };
}

/** The error for a complaint of yargs; it names the help of the command that was used. */
function usageError(program: Command, args: readonly string[], complaint: string): CommandError {
  const path = pathOf(program, args);
  const text = surplusText(path.at(-1) ?? program, args, complaint) ?? inOurWords(complaint);
  const typed = path.map(({ name }) => name).join(' ');
  return new CommandError(exitCodes.usage, `${text}; see ${typed} --help`);
}

/** The program, and the commands below it that the arguments name. */
function pathOf(program: Command, args: readonly string[]): Command[] {
  const path = [program];
  for (const arg of args) {
    const below = path.at(-1)?.commands.find(({ name }) => name === arg);
    if (below) path.push(below);
  }
  return path;
}

/** What is said of a word that follows the last argument of a command; undefined for another complaint. */
function surplusText(
  { name, arguments: table }: Command,
  args: readonly string[],
  complaint: string,
): string | undefined {
  const [, word = ''] = /^Unknown arguments?: (.*)$/.exec(complaint) ?? [];
  const [last] = Object.keys(table).slice(-1);
  const isWord = word.split(', ').every((each) => args.includes(each));
  return last !== undefined && isWord
    ? `${name} takes only one ${last}, and got also ${word}`
    : undefined;
}

/** What yargs complains about, said as we say such things. */
function inOurWords(text: string): string {
  const words: readonly [RegExp, string][] = [
    [/^Unknown arguments?: (.*)$/, 'there is no option or command $1'],
    [/^Not enough arguments following: (.*)$/, '--$1 needs a value'],
    [/^Not enough non-option arguments: .*$/, 'an argument is missing'],
  ];
  return words.reduce((said, [pattern, ours]) => said.replace(pattern, ours), text);
}

type Choose = (command: Command, argv: Record<string, unknown>) => void;

function addCommand(parser: Argv, command: Command, choose: Choose, above?: OptionTable): void {
  const words = Object.entries(command.arguments).map(([name, { optional, several }]) => {
    if (several) return `[${name}..]`;
    return optional ? `[${name}]` : `<${name}>`;
  });
  const typed = [command.name, ...words].join(' ');
  parser.command({
    command: command.isDefault ? [typed, '$0'] : typed,
    describe: command.describe ?? false,
    builder: (below) => {
      addParts(below, command, choose, above);
      // Before yargs looks at the values: what is wrong with them is said in one way, wherever they are from.
      return command.run ? below.middleware((argv) => choose(command, argv), true) : below;
    },
    handler: () => {},
  });
}

/** Adds the arguments of a command, its options but for those of the command above it, and the commands below it. */
function addParts(parser: Argv, command: Command, choose: Choose, above: OptionTable = {}): void {
  for (const [name, { describe }] of Object.entries(command.arguments)) {
    parser.positional(name, { type: 'string', describe });
  }
  const table = { ...command.settings, ...command.options };
  for (const [name, option] of Object.entries(table)) {
    if (!(name in above)) parser.option(name, asYargsHasIt(option));
  }
  for (const each of command.commands) addCommand(parser, each, choose, table);
  const [first] = Object.keys(command.settings);
  if (command.isService && first !== undefined) {
    parser.epilogue(`Each option is also a variable: ${variableOf(first)} stands for --${first}.`);
  }
  if (command.run) return;
  const names = command.commands.filter(({ describe }) => describe !== undefined);
  if (command.commands.some(({ isDefault }) => isDefault)) parser.demandCommand(0, 1);
  else parser.demandCommand(1, `name a command: ${names.map(({ name }) => name).join(', ')}`);
}

function asYargsHasIt(option: Option): Options {
  const { describe, alias } = option;
  const common = { describe, alias, hidden: describe === undefined };
  if ('flag' in option) return { ...common, type: 'boolean' };
  const choices = 'choices' in option ? { choices: option.choices } : {};
  return {
    ...common,
    ...choices,
    type: 'string',
    array: option.several ?? false,
    requiresArg: true,
    defaultDescription: option.default ?? option.otherwise,
  };
}

/** Reads the values of a command. */
function prepare(command: Command, argv: Record<string, unknown>, args: readonly string[]): Asked {
  const { settings, options, run } = command;
  const given = { ...argv, ...flagTexts({ ...settings, ...options }, args) };
  refuseTwice({ ...settings, ...options }, argv);
  const origins = new Origins();
  const values = {
    ...wordsOf(command, argv),
    ...readOptions(settings, given, origins, process.env),
    ...readOptions(options, given, origins),
  };
  return { command, run: async () => run?.(values, origins) };
}

/** The texts of `--flag=TEXT`, of which yargs keeps only whether they are `true`. */
function flagTexts(table: OptionTable, args: readonly string[]): Record<string, string> {
  const end = args.indexOf('--');
  const texts = args.slice(0, end < 0 ? undefined : end).flatMap((arg) => {
    const [, name = '', text = ''] = /^--([^=]+)=(.*)$/s.exec(arg) ?? [];
    const option = table[name];
    return option && 'flag' in option ? [[name, text] as const] : [];
  });
  return Object.fromEntries(texts);
}

function refuseTwice(table: OptionTable, argv: Record<string, unknown>): void {
  for (const [name, option] of Object.entries(table)) {
    const maySeveral = !('flag' in option) && option.several;
    if (maySeveral || !Array.isArray(argv[name])) continue;
    throw new CommandError(exitCodes.usage, `--${name} is given twice`);
  }
}

/** The arguments without a name. What follows `--` may begin with a dash. */
function wordsOf(command: Command, argv: Record<string, unknown>): Record<string, unknown> {
  const words = Object.entries(command.arguments).map(([name, { several }]) => {
    if (!several) return [name, argv[name]];
    const dashed = (argv['--'] as unknown[] | undefined)?.map(String) ?? [];
    return [name, [...((argv[name] as string[] | undefined) ?? []), ...dashed]];
  });
  return Object.fromEntries(words) as Record<string, unknown>;
}
