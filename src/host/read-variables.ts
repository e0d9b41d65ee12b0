import { exitCodes, CommandError } from './command-error.ts';

/**
 * Reads a file of /etc/default: lines `NAME=value`, blank lines, and comments from `#` on. A value in quotes may have `#`
 * in it and go over several lines, and within double quotes `\n` is the end of a line, as in Node.js (`--env-file`).
 *
 * That parser passes over what it does not understand, together with the line that follows, and of two lines of one
 * name it takes the last: a setting would not count, and nobody would be told. So either is CommandError 78 here, with the
 * numbers of the lines. A value may be a secret and is not quoted.
 */
export function readVariables(text: string, file: string): Map<string, string> {
  const values = new Map<string, string>();
  const lineOf = new Map<string, number>();
  let line = 1;
  for (const { 0: whole, groups } of text.replaceAll('\r', '').matchAll(LINE)) {
    const { name, double, single, back, plain, other } = groups ?? {};
    if (other !== undefined) {
      throw faulty(`line ${line} of ${file} is not NAME=value, nor a comment or a blank line`);
    }
    if (name !== undefined) {
      const first = lineOf.get(name);
      if (first !== undefined) {
        throw faulty(
          `${file} sets ${name} twice, in the lines ${first} and ${line}: leave one of them; ` +
            'several values of an option belong into one line, with commas or spaces between them',
        );
      }
      lineOf.set(name, line);
      values.set(name, double?.replaceAll('\\n', '\n') ?? single ?? back ?? plain?.trim() ?? '');
    }
    line += whole.split('\n').length - 1;
  }
  return values;
}

function faulty(text: string): CommandError {
  return new CommandError(exitCodes.configuration, text);
}

const QUOTED = /"(?<double>[^"]*)"|'(?<single>[^']*)'|`(?<back>[^`]*)`/.source;
const PLAIN = /(?<plain>(?![ \t]*["'`])[^\n#]*)/.source;
const NAMED = String.raw`(?:export[ \t]+)?(?<name>[A-Za-z_]\w*)[ \t]*=[ \t]*(?:${QUOTED}|${PLAIN})`;
/** A line with its end, or a value with more of them; `other` is a line that says nothing. */
const LINE = new RegExp(
  String.raw`[ \t]*(?:(?:${NAMED})?[ \t]*(?:#[^\n]*)?(?:\n|$)|(?<other>[^\n]+))`,
  'gy',
);
