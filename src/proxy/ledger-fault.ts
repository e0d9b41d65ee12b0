import { isDamage } from '../host/is-damage.ts';
import { ledgerCommand } from './ledger-command.ts';

/** What is wrong with a ledger, and what to do where it is damaged. */
export function ledgerFault(file: string, error: Error): string {
  if (!isDamage(error)) return error.message;
  return `${error.message}. To do: stop the proxy; ${ledgerCommand('fsck', file)}; start the proxy`;
}
