import type { Options } from 'yargs';
import { exitCodes, CommandError } from './command-error.ts';
import { parseBoolean } from './parse-boolean.ts';

/**
 * Makes every option of a command settable as APPENGINE_MAILER_<OPTION> too; the command line wins.
 * (yargs' own env() would refuse the options of the other commands in the same environment.)
 */
export function environmentOptions<T extends Record<string, Options>>(options: T): T {
  const entries = Object.entries(options).map(([name, option]) => {
    const variable = variableOf(name);
    const text = process.env[variable];
    if (!text) return [name, option];
    const value = convert(variable, text, option.type);
    return [name, { ...option, default: option.array ? [value] : value }];
  });
  return Object.fromEntries(entries) as T;
}

/**
 * Throws Failure 78 for a variable that looks like one of ours and is none of the options: a slip of the
 * pen would be passed over in silence, and the default be in force.
 */
export function refuseStrayVariables(options: readonly string[]): void {
  const known = new Set(options.map(variableOf));
  const stray = Object.keys(process.env).filter(
    (name) => name.startsWith(PREFIX) && !known.has(name),
  );
  if (stray.length === 0) return;
  throw new CommandError(
    exitCodes.configuration,
    `there is no setting ${stray.join(', ')}: correct the name, in the environment or in /etc/default`,
  );
}

function variableOf(option: string): string {
  return `${PREFIX}${option.toUpperCase().replaceAll('-', '_')}`;
}

const PREFIX = 'APPENGINE_MAILER_';

function convert(variable: string, text: string, type: Options['type']): unknown {
  if (type === 'number' && Number.isFinite(Number(text))) return Number(text);
  const flag = type === 'boolean' ? parseBoolean(text) : undefined;
  if (type === 'number' || (type === 'boolean' && flag === undefined)) {
    throw new CommandError(exitCodes.configuration, `${variable} is not a ${type}: ${text}`);
  }
  return flag ?? text;
}
