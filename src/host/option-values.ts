/** A text that is not a value of its option. The message follows the option's name: `takes a number and got "x"`. */
export class ValueError extends Error {
  override readonly name = 'ValueError';
}

/** The usual error: what the option takes, and what it got. */
export function takes(what: string, text: string): ValueError {
  return new ValueError(`takes ${what} and got ${JSON.stringify(text)}`);
}

/** Any text. */
export function anyText(text: string): string {
  return text;
}

/** Makes a function that reads a whole number from `min` to `max`. */
export function wholeNumber(min: number, max = Infinity): (text: string) => number {
  const range = max === Infinity ? `above ${min - 1}` : `from ${min} to ${max}`;
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw takes(`a whole number ${range}`, text);
  };
}

/** Reads yes or no, true or false, 1 or 0. Throws ValueError. */
export function parseBoolean(text: string): boolean {
  if (/^(?:true|1|yes)$/i.test(text)) return true;
  if (/^(?:false|0|no)$/i.test(text)) return false;
  throw takes('yes or no', text);
}

/** The values of a text that has several, with commas or white space between them. */
export function severalValues(text: string): string[] {
  return text.split(/[\s,]+/).filter((value) => value !== '');
}
