import { exitCodes, CommandError } from '../../host/command-error.ts';
import { lines } from '../../host/settings.ts';
import { printable } from '../../mail/printable.ts';
import { strictUtf8 } from '../../mail/strict-utf8.ts';

/** A line of a file of keys; `number` is from 1. */
export type KeyLine =
  | { kind: 'key'; number: number; secret: Buffer }
  | { kind: 'name'; number: number; value: string }
  | { kind: 'allow-sender'; number: number; value: string };

/**
 * The keys in a file of keys, and the directives `# name NAME` and `# allow-sender …` about the key that follows. Blank
 * lines and other comments are left out. Throws CommandError 78 with the number of a line that looks like a directive and is not,
 * since taken for a comment or a key it would let a key send as anybody; and of a key with characters that no editor
 * shows, since its users would have another key.
 */
export function keyLines(bytes: Buffer, file: string): KeyLine[] {
  if (NOT_TEXT.test(bytes.toString('latin1'))) {
    throw new CommandError(
      exitCodes.configuration,
      `the keys are not lines of text: there is a byte order mark or a control character in ${file}`,
    );
  }
  return lines(bytes).flatMap((line, at): KeyLine[] => {
    const [number, text] = [at + 1, decode(line)];
    const looks = plain(text);
    const [, kind, value = ''] = PROSE.test(looks) ? [] : (DIRECTIVE.exec(text) ?? []);
    if (kind === 'name' || kind === 'allow-sender') return [{ kind, number, value }];
    const meant = directiveMeant(looks);
    if (meant !== undefined) throw faulty(number, file, `looks like ${meant}, but is not`, text);
    if (line.length === 0 || line[0] === HASH) return [];
    if (looks === '' || looks.startsWith('#')) {
      throw faulty(number, file, 'looks like a comment or a blank line, but is not', text);
    }
    if (INVISIBLE_END.test(text)) {
      throw faulty(number, file, 'has a key that begins or ends with an invisible character', text);
    }
    return [{ kind: 'key', number, secret: line }];
  });
}

/**
 * The directive that an administrator may have meant by a line, whose text is given as it looks: the first word
 * decides, or the first two, with anything before, between and after them.
 */
function directiveMeant(looks: string): string | undefined {
  const [first = '', second = ''] = looks.match(/[\p{L}\p{N}]+/gu) ?? [];
  if (isAllowSender(first) || isAllowSender(first + second)) return '# allow-sender ADDRESS';
  return NAME.test(looks) && !PROSE.test(looks) ? '# name NAME' : undefined;
}

function isAllowSender(word: string): boolean {
  return ALLOW_SENDER.some((name) => distance(word, name) <= 2);
}

/** The text as it looks: compatible characters are the same one, and invisible ones are not there. */
function plain(text: string): string {
  return text
    .normalize('NFKC')
    .replace(INVISIBLE, '')
    .replace(/[\s\p{Z}]+/gu, ' ')
    .trim()
    .toLowerCase();
}

/** How many characters have to be added, removed, replaced or swapped with the next one (optimal string alignment). */
function distance(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > 2) return Infinity;
  const rows = [Array.from({ length: other.length + 1 }, (_, at) => at)];
  const cost = (i: number, j: number) => rows[i]?.[j] ?? Infinity;
  for (let i = 1; i <= one.length; i += 1) {
    const row = (rows[i] = [i]);
    for (let j = 1; j <= other.length; j += 1) {
      const replaced = cost(i - 1, j - 1) + (one[i - 1] === other[j - 1] ? 0 : 1);
      const isExchanged = one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
      const exchanged = isExchanged ? cost(i - 2, j - 2) + 1 : Infinity;
      row[j] = Math.min(cost(i - 1, j) + 1, cost(i, j - 1) + 1, replaced, exchanged);
    }
  }
  return cost(one.length, other.length);
}

/** Keys may be of any charset: a control character of latin1 is a letter in others. */
function decode(line: Buffer): string {
  try {
    return strictUtf8.decode(line);
  } catch {
    return line.toString('latin1').replace(/[\x80-\x9f]/g, '?');
  }
}

/** Only comments are quoted: anything else may be a key. */
function faulty(number: number, file: string, what: string, text: string): CommandError {
  const quoted = text.startsWith('#') ? `: ${visible(text)}` : '';
  return new CommandError(exitCodes.configuration, `line ${number} of ${file} ${what}${quoted}`);
}

function visible(text: string): string {
  return printable(text).replace(
    /[^\x20-\x7e]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** A byte order mark or a control character. The charset may be any, but not UTF-16. */
const NOT_TEXT = /^\xef\xbb\xbf|[^\P{Cc}\t\r\n\x80-\x9f]/u;
const DIRECTIVE = /^#[ \t]*(name|allow-sender)(?![^ \t])[ \t]*(.*)$/;
const NAME = /^[\p{P}\p{S} ]*name(?:[ :=,;]|$)/u;
/** A comment that begins with the word, as people write one. */
const PROSE = /^#[# ]*name (?:of|for|and|or) /;
const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}\u{2800}]/gu;
const INVISIBLE_END =
  /^[\p{Z}\p{C}\p{Default_Ignorable_Code_Point}\u{2800}]|[\p{Z}\p{C}\p{Default_Ignorable_Code_Point}\u{2800}]$/u;
const ALLOW_SENDER = ['allowsender', 'allowedsender'];
const HASH = 0x23;
