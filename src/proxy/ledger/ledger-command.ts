import { basename, dirname } from 'node:path';

/**
 * How an administrator of this machine runs `appengine-mailer ledger WORD` on a ledger: where the package of the proxy is
 * installed alone, there is only appengine-mailer-proxy, which passes it on.
 */
export function ledgerCommand(word: 'list' | 'fsck', file: string): string {
  const home = basename(dirname(process.argv[1] ?? ''));
  const program = home === 'appengine-mailer-proxy' ? home : 'appengine-mailer';
  return `${program} ledger ${word} --ledger ${file}`;
}
