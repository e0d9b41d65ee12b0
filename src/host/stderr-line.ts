import { fstatSync } from 'node:fs';
import { printable } from '../mail/printable.ts';

/**
 * Writes one line to standard error, whatever the text is. It may be journald that reads there: only `prefix`, such
 * as `<4>`, tells a priority (sd-daemon(3)).
 */
export function stderrLine(text: string, prefix: '' | `<${number}>` = ''): void {
  const line = printable(text).replace(/^<(?=\d{1,3}>)/, String.raw`\x3c`);
  makeRoom();
  process.stderr.write(`${prefix}${line}\n`);
}

/** Has something done before each line, as a progress bar that has to make room; returns what ends that. */
export function beforeStderrLines(action: () => void): () => void {
  makeRoom = action;
  return () => {
    makeRoom = () => {};
  };
}

let makeRoom = () => {};

/** Writes the error that ends a program as one line to standard error; the journal gets it with the priority err. */
export function stderrError(text: string): void {
  stderrLine(text, isJournal(process.env) ? '<3>' : '');
}

/** Whether standard error is connected to systemd's journal (systemd.exec(5), $JOURNAL_STREAM). */
export function isJournal(environment: NodeJS.ProcessEnv): boolean {
  const { dev, ino } = fstatSync(2);
  return environment['JOURNAL_STREAM'] === `${dev}:${ino}`;
}
