/**
 * A value as JSON for json_each, so that one statement works on many rows. Strings that UTF-8 cannot write become what a
 * parameter of their own becomes: their lone surrogates are U+FFFD.
 */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === 'string' ? each.toWellFormed() : each,
  );
}
