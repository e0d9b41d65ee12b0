import type { Options } from 'yargs';
import { exitCodes, Failure } from './failure.ts';
import { parseBoolean } from './parse-boolean.ts';

/**
 * Makes every option of a command settable as APPENGINE_MAILER_<OPTION> too; the command line wins.
 * (yargs' own env() would refuse the options of the other commands in the same environment.)
 */
export function environmentOptions<T extends Record<string, Options>>(options: T): T {
  const entries = Object.entries(options).map(([name, option]) => {
    const variable = `APPENGINE_MAILER_${name.toUpperCase().replaceAll('-', '_')}`;
    const text = process.env[variable];
    if (!text) return [name, option];
    const value = convert(variable, text, option.type);
    return [name, { ...option, default: option.array ? [value] : value }];
  });
  return Object.fromEntries(entries) as T;
}

function convert(variable: string, text: string, type: Options['type']): unknown {
  if (type === 'number' && Number.isFinite(Number(text))) return Number(text);
  const flag = type === 'boolean' ? parseBoolean(text) : undefined;
  if (type === 'number' || (type === 'boolean' && flag === undefined)) {
    throw new Failure(exitCodes.configuration, `${variable} is not a ${type}: ${text}`);
  }
  return flag ?? text;
}
