import { unprintable } from './printable.ts';

/** A value as JSON in one line that is fit for a terminal: what `printable` does not show as it is, is \uNNNN. */
export function jsonLine(value: object): string {
  return JSON.stringify(value).replace(unprintable(), (character) =>
    // By code units: JSON writes a character above U+FFFF as two (RFC 8259 7).
    Array.from({ length: character.length }, (_, at) => escaped(character.charCodeAt(at))).join(''),
  );
}

function escaped(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}
