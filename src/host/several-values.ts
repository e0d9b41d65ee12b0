/**
 * The values of a setting that may have several, however they were given: in one option with commas or white space
 * between them, as in a file of /etc/default or of keys, or in an option that was given again.
 */
export function severalValues(given: readonly string[]): string[] {
  return given.flatMap((text) => text.split(/[\s,]+/)).filter((value) => value !== '');
}
