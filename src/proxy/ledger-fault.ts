import { isDamage } from '../host/is-damage.ts';

/** What is wrong with a ledger, and what to do where it is damaged. */
export function ledgerFault(file: string, error: Error): string {
  return isDamage(error) ? `${error.message}. To do: ${ledgerRemedy(file)}` : error.message;
}

/** What to do with a damaged ledger. */
export function ledgerRemedy(file: string): string {
  return `stop the proxy; appengine-mailer queue fsck --ledger ${file}; start the proxy`;
}
