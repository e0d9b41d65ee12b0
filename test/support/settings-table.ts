import { allPrograms } from '../../src/cli/command-line.ts';
import type { Command } from '../../src/host/command.ts';
import { variableOf, type Option } from '../../src/host/options.ts';
import { limits } from '../../src/limits.ts';

const programs = await allPrograms();

/** A setting, and the commands that have it. */
export interface Setting {
  name: string;
  option: Option;
  commands: string[];
}

/** The settings of all commands, each once for each meaning. */
export function allSettings(): Setting[] {
  const settings: Setting[] = [];
  for (const each of Object.entries(programs).flatMap(declaredBy)) {
    const same = settings.find(
      ({ name, option }) => name === each.name && option.describe === each.option.describe,
    );
    if (same) same.commands.push(...each.commands);
    else settings.push(each);
  }
  return settings.toSorted((a, b) => a.name.localeCompare(b.name));
}

function declaredBy([line, command]: [string, Command]): Setting[] {
  const own = Object.entries(command.settings).map(([name, option]) => ({
    name,
    option,
    commands: [line],
  }));
  return [
    ...own,
    ...command.commands.flatMap((each) => declaredBy([`${line} ${each.name}`, each])),
  ];
}

/** The table of all settings for the manual, in mdoc(7). */
export function settingsTable(): string {
  return [
    '.Ss All options that are also variables',
    'For each: the option, its variable, the default, and the commands that have it.',
    '.Bl -tag -width Ds',
    ...allSettings().flatMap(entryLines),
    `.It Ev ${variableOf('max-size')}`,
    `Largest message that exim-pipe takes, in bytes; default: ${limits.messageBytes}.`,
    'Commands: exim-pipe.',
    '.El',
    '',
  ].join('\n');
}

function entryLines({ name, option, commands }: Setting): string[] {
  const value = 'flag' in option ? '' : ` Ar ${valueOf(option)}`;
  const variables = [variableOf(name)];
  const notes = [];
  if (!('flag' in option)) {
    if (option.also) variables.push(option.also.variable);
    const preset = option.default ?? option.otherwise;
    if (preset !== undefined) notes.push(`Default: ${preset}.`);
    if (option.setting !== undefined) {
      notes.push(`Otherwise: ${option.setting}, from the environment or a file (see above).`);
    }
  }
  const names = commands.map((line) => line.replace(/^appengine-mailer /, ''));
  names.push(...(READ_ALSO_BY[name] ?? []));
  return [
    `.It Fl -${name}${value} , Ev ${variables.join(' , ')}`,
    `${option.describe ?? ''}.`,
    ...notes,
    `Commands: ${shortened(names)}.`,
  ];
}

/** Programs that read a variable and do not have its option. */
const READ_ALSO_BY: Record<string, readonly string[]> = { spool: ['exim-pipe', 'gmail --queue'] };

function valueOf(option: Exclude<Option, { flag: true }>): string {
  if ('choices' in option) return option.choices.join('|');
  return (option.value ?? 'VALUE').replaceAll('|', ' | ').toLowerCase();
}

/** All commands of `queue` that work on a spool are one entry. */
function shortened(names: readonly string[]): string {
  const short = names.map((name) => {
    const [first = ''] = name.split(' ');
    return isGroup(first) && names.filter((each) => each.startsWith(`${first} `)).length > 1
      ? first
      : name;
  });
  return [...new Set(short)].join(', ');
}

function isGroup(name: string): boolean {
  return name === 'queue' || name === 'ledger';
}
