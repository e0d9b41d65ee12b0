import { isCorruption } from '../../../sqlite/is-corruption.ts';
import { foreignSchema } from '../../../sqlite/schema-faults.ts';
import { ledgerCommandLine } from '../ledger-command-line.ts';
import { ledgerSchema } from './ledger-schema.ts';

/** What is wrong with a ledger, and what to do where it is damaged or its schema was changed by others. */
export function ledgerFault(file: string, error: Error): string {
  const foreign = foreignSchema(error, file, ledgerSchema);
  if (!isCorruption(error) && foreign === undefined) return error.message;
  const fault = foreign === undefined ? error.message : `${error.message}; ${foreign}`;
  return `${fault}. To do: ${ledgerRemedy(file)}`;
}

/** What to do with a damaged ledger. */
export function ledgerRemedy(file: string): string {
  return `stop the proxy; ${ledgerCommandLine('fsck', file)}; start the proxy`;
}
