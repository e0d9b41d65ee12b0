import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { readIfThere, replaceFile } from '../../host/replace-file.ts';
import { etcExim, splitLine } from './debian-config.ts';

/**
 * Where it is remembered that `enable` split a configuration that was not: the line of
 * update-exim4.conf.conf that `disable` puts back. It is there before that line is changed and until it is
 * back, so that a command that was killed in between is found out by the next one.
 */
export const unsplitFile = '/var/lib/appengine-mailer/exim-was-unsplit';

/** The line to be put back, undefined when none is. */
export function unsplitLine(): string | undefined {
  return readIfThere(unsplitFile)?.toString();
}

/** Remembers the line as it is now. */
export function rememberUnsplit(): void {
  if (unsplitLine() !== undefined) return;
  mkdirSync(dirname(unsplitFile), { recursive: true, mode: 0o755 });
  replaceFile(unsplitFile, splitLine(etcExim));
}

/** The line is back. */
export function forgetUnsplit(): void {
  replaceFile(unsplitFile, undefined);
}
