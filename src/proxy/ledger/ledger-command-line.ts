import { basename, dirname } from 'node:path';

/**
 * The command line for `appengine-mailer ledger WORD` on a ledger of this machine: where only the package of the proxy is
 * installed, the program is appengine-mailer-proxy.
 */
export function ledgerCommandLine(word: 'list' | 'fsck', file: string): string {
  const home = basename(dirname(process.argv[1] ?? ''));
  const program = home === 'appengine-mailer-proxy' ? home : 'appengine-mailer';
  return `${program} ledger ${word} --ledger ${file}`;
}
