import { isDamage } from '../host/is-damage.ts';
import { foreignSchema } from '../host/schema-faults.ts';
import { ledgerSchema } from './ledger.ts';

/** What is wrong with a ledger, and what to do where it is damaged, or others have changed its schema. */
export function ledgerFault(file: string, error: Error): string {
  const foreign = foreignSchema(error, file, ledgerSchema);
  if (!isDamage(error) && foreign === undefined) return error.message;
  const fault = foreign === undefined ? error.message : `${error.message}; ${foreign}`;
  const fsck = `appengine-mailer queue fsck --ledger ${file}`;
  return `${fault}. To do: stop the proxy; ${fsck}; start the proxy`;
}
