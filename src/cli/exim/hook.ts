import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readIfThere, replaceFile } from '../../host/replace-file.ts';

/**
 * Puts our snippets into a folder of Exim's configuration (/etc/exim4, or a copy of it). Each comes after
 * what it refers to: whenever this is cut off, what is there is a valid configuration. `unsplit` says that
 * the configuration was not split before: then it goes on to read exim4.conf.localmacros.
 */
export function putHook(confdir: string, unsplit: boolean): void {
  if (!unsplit) replaceFile(join(confdir, LOCALMACROS), undefined);
  for (const [file, text] of parts(unsplit)) replaceFile(join(confdir, file), text);
}

/** Takes them out, in the opposite order; some or all may be missing. */
export function takeHook(confdir: string): void {
  for (const file of hookFiles.toReversed()) replaceFile(join(confdir, file), undefined);
}

/** How much of the hook is there: `other` is all of it, but some of it with another text. */
export function hookPresence(confdir: string, unsplit: boolean): 'none' | 'some' | 'other' | 'all' {
  const found = parts(unsplit).map(([file, text]) => {
    const bytes = readIfThere(join(confdir, file));
    return bytes && (bytes.toString() === text ? 'same' : 'other');
  });
  if (found.every((each) => each === undefined)) return 'none';
  if (found.includes(undefined)) return 'some';
  return found.includes('other') ? 'other' : 'all';
}

/** Where the hook is in a folder of Exim's configuration. */
const LOCALMACROS = 'conf.d/main/000_appengine-mailer';
const SNIPPETS = {
  main: 'conf.d/main/95_appengine-mailer',
  transport: 'conf.d/transport/30_appengine-mailer',
  retry: 'conf.d/retry/20_appengine-mailer',
  router: 'conf.d/router/190_appengine-mailer',
} as const;

export const hookFiles: readonly string[] = [LOCALMACROS, ...Object.values(SNIPPETS)];

function parts(unsplit: boolean): [file: string, text: string][] {
  const snippets = Object.entries(SNIPPETS).map(([name, file]): [string, string] => [
    file,
    readFileSync(join(snippetFolder(), name), 'utf8'),
  ]);
  return unsplit ? [[LOCALMACROS, LOCALMACROS_TEXT], ...snippets] : snippets;
}

const LOCALMACROS_TEXT = `# The split configuration does not read this by itself; the one that appengine-mailer replaced did.
.include_if_exists /etc/exim4/exim4.conf.localmacros
`;

/** Beside the program in a checkout, else where the package puts them. */
export function snippetFolder(): string {
  const beside = fileURLToPath(new URL('../../../exim', import.meta.url));
  return existsSync(join(beside, 'router')) ? beside : '/usr/share/appengine-mailer/exim4';
}
