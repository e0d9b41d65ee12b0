import { cut } from './cut.ts';
import { limits } from '../limits.ts';

/**
 * Makes foreign text one line that is fit for a terminal and for the journal: what moves a cursor, ends a line,
 * changes the direction of writing or cannot be seen at all is shown as \xNN or \u{NNNN}, and what is longer
 * than `charsMax` is cut. A text that is printable already stays as it is.
 */
export function printable(text: string, charsMax: number = limits.lineChars): string {
  // What is cut away need not be looked at: 100 MB may be.
  const shown = text.slice(0, charsMax + 1).replace(unprintable(), (character) => {
    const code = character.codePointAt(0) ?? 0;
    // A lone surrogate of decodeAddress stands for one octet.
    const octet = code >= 0xdc80 && code <= 0xdcff ? code - 0xdc00 : code;
    return octet <= 0xff
      ? `\\x${octet.toString(16).padStart(2, '0')}`
      : `\\u{${octet.toString(16)}}`;
  });
  return cut(shown, charsMax);
}

/**
 * Control characters, lone surrogates, separators of lines and paragraphs, format characters (of direction and of
 * no width, the byte order mark), and what else is invisible by itself (UAX #44: Default_Ignorable_Code_Point).
 * Made when it is wanted: exim-pipe starts anew for each message, and seldom wants it.
 */
export const unprintable = (): RegExp =>
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
