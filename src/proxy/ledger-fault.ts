import { isDamage } from '../host/is-damage.ts';

/** What is wrong with a ledger, and what to do where it is damaged. */
export function ledgerFault(file: string, error: Error): string {
  if (!isDamage(error)) return error.message;
  const fsck = `appengine-mailer queue fsck --ledger ${file}`;
  return `${error.message}. To do: stop the proxy; ${fsck}; start the proxy`;
}
