import { printable } from '../mail/printable.ts';

/**
 * Writes one line to standard error, whatever the text is. It may be journald that reads there: only `prefix`, such
 * as `<4>`, tells a priority (sd-daemon(3)).
 */
export function stderrLine(text: string, prefix: '' | `<${number}>` = ''): void {
  const line = printable(text).replace(/^<(?=\d{1,3}>)/, String.raw`\x3c`);
  process.stderr.write(`${prefix}${line}\n`);
}
