import { exitCodes, CommandError } from './command-error.ts';
import { parseBoolean, takes, ValueError } from './option-values.ts';

interface Described {
  /** For --help and the manual, without a full stop. An option without it is hidden: programs of ours use it. */
  describe?: string;
  /** One letter. */
  alias?: string;
  /** Another option that cannot be given together with this one. */
  excludes?: string;
}

/** An option that is given, or not. */
interface Flag extends Described {
  flag: true;
}

/** An option that takes a value: one of several words, or a text that is parsed. */
type Valued = Described & {
  /** What --help and the manual call the value, such as HOST:PORT. */
  value?: string;
  /** The default, as a user would write it. */
  default?: string;
  /** What happens without the option, in words, where that is not a default value. */
  otherwise?: string;
  /** It may be given again: `parse` gets all texts in one, with spaces between them. */
  several?: true;
  /** A variable that counts where the option and APPENGINE_MAILER_… are not given. */
  also?: { variable: string; parse?: (text: string) => unknown };
  /** A setting of its own that counts then (readSetting). The command reads it; here it is named for the manual. */
  setting?: string;
} & ({ choices: readonly string[] } | { parse: (text: string) => unknown });

export type Option = Flag | Valued;

/** Options by name. From one declaration come parsing, variable, --help, completion and the manual's table. */
export type OptionTable = Readonly<Record<string, Option>>;

/** What a table of options yields, by their names in camel case. */
export type Values<Table extends OptionTable> = {
  [Name in keyof Table & string as CamelCase<Name>]: ValueOf<Table[Name]>;
};

type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

type ValueOf<O> = O extends { flag: true }
  ? boolean
  : | (O extends { choices: readonly (infer Choice)[] }
        ? Choice
        : O extends { parse: (text: string) => infer Value }
          ? Value
          : never)
    | (O extends { default: string } ? never : undefined);

/** What the command line has for each option: texts, and true or false for a flag without a value. */
export type Given = Readonly<Record<string, unknown>>;

/** Where values came from, to say which of them is wrong. */
export class Origins {
  readonly #names = new Map<string, { called: string; isSetting: boolean }>();

  set(name: string, called: string, isSetting: boolean): void {
    this.#names.set(name, { called, isSetting });
  }

  /** Whether an option was given, on the command line or as a variable of its own name. */
  has(name: string): boolean {
    const called = this.#names.get(name)?.called;
    return called === `--${name}` || called === variableOf(name);
  }

  /** The error for a value: 64 for an option, 78 for a setting. `text` follows the name, as in ValueError. */
  error(name: string, text: string): CommandError {
    const { called, isSetting } = this.#names.get(name) ?? {
      called: `--${name}`,
      isSetting: false,
    };
    return wrong(called, text, isSetting);
  }
}

/**
 * Reads the options of a table: from the command line, else, with an environment, from APPENGINE_MAILER_<OPTION>, else
 * the default. Notes the origins. Throws CommandError 64 for a wrong option and 78 for a wrong variable.
 */
export function readOptions<Table extends OptionTable>(
  table: Table,
  given: Given,
  origins: Origins,
  environment?: NodeJS.ProcessEnv,
): Values<Table> {
  const values = Object.entries(table).map(([name, option]) => {
    const { excludes } = option;
    if (excludes !== undefined && given[name] && given[excludes]) {
      throw wrong(`--${name}`, `cannot be given together with --${excludes}`, false);
    }
    const found = textOf(name, option, given, environment);
    if (found === undefined) return [camelCase(name), 'flag' in option ? false : undefined];
    if ('called' in found) origins.set(name, found.called, found.isSetting);
    return [camelCase(name), parsed(found)];
  });
  return Object.fromEntries(values) as Values<Table>;
}

/** A text to be parsed, and what it is called in an error. */
interface Found {
  text: unknown;
  called: string;
  isSetting: boolean;
  parse: (text: string) => unknown;
}

function textOf(
  name: string,
  option: Option,
  given: Given,
  environment: NodeJS.ProcessEnv = {},
): Found | undefined {
  const parse = parserOf(option);
  const text = given[name];
  if (text !== undefined) return { text, called: `--${name}`, isSetting: false, parse };
  const also = 'flag' in option ? undefined : option.also;
  for (const [called, read] of [
    [variableOf(name), parse],
    [also?.variable ?? '', also?.parse ?? parse],
  ] as const) {
    const setting = environment[called];
    if (setting) return { text: setting, called, isSetting: true, parse: read };
  }
  const preset = 'flag' in option ? undefined : option.default;
  return preset === undefined ? undefined : { text: preset, called: '', isSetting: false, parse };
}

function parsed({ text, called, isSetting, parse }: Found): unknown {
  if (typeof text === 'boolean') return text;
  try {
    return parse(Array.isArray(text) ? text.join(' ') : String(text));
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw wrong(called, error.message, isSetting);
  }
}

/** Parses a setting that is no option, such as one of /etc/envdir. Throws CommandError 78, which names it. */
export function parseSetting<Value>(
  called: string,
  text: string,
  parse: (text: string) => Value,
): Value {
  return parsed({ text, called, isSetting: true, parse }) as Value;
}

function parserOf(option: Option): (text: string) => unknown {
  if ('flag' in option) return parseBoolean;
  if ('parse' in option) return option.parse;
  const { choices } = option;
  return (text) => {
    if (choices.includes(text)) return text;
    throw takes(choices.join(', ').replace(/, (?!.*, )/, ' or '), text);
  };
}

function wrong(called: string, text: string, isSetting: boolean): CommandError {
  return new CommandError(
    isSetting ? exitCodes.configuration : exitCodes.usage,
    `${called} ${text}`,
  );
}

/**
 * Throws CommandError 78 for a variable that looks like one of ours and is not: a misspelt name would be passed over in
 * silence, and the default be in force. `options` are those of the command; those of all programs are asked for only where
 * there are further variables.
 */
export async function refuseStrayVariables(
  options: readonly string[],
  all: () => Promise<readonly string[]>,
): Promise<void> {
  if (strayFrom(options).length === 0) return;
  const stray = strayFrom(await all());
  if (stray.length === 0) return;
  throw new CommandError(
    exitCodes.configuration,
    `there is no setting ${stray.join(', ')}: correct the name, in the environment or in /etc/default`,
  );
}

/** Variables that look like ours, and are of none of the options. */
function strayFrom(options: readonly string[]): string[] {
  const known = new Set(options.map(variableOf));
  return Object.keys(process.env).filter((name) => name.startsWith(PREFIX) && !known.has(name));
}

/** The variable of an option: APPENGINE_MAILER_SPOOL of --spool. */
export function variableOf(option: string): string {
  return `${PREFIX}${option.toUpperCase().replaceAll('-', '_')}`;
}

const PREFIX = 'APPENGINE_MAILER_';

function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
