import { exitCodes, CommandError } from '../../host/command-error.ts';
import { becomeServiceAccount } from '../../proxy/ledger/with-ledger.ts';
import { print } from '../print.ts';

/** Says what is wrong with a ledger in PostgreSQL, and changes nothing. Throws CommandError 1 where something is. */
export async function inspectShared(name: string): Promise<void> {
  await becomeServiceAccount();
  const { postgresLedgerFaults } =
    await import('../../proxy/ledger/postgres/postgres-ledger-faults.ts');
  const faults = await postgresLedgerFaults(name);
  if (faults.length === 0) return print(`nothing is wrong with the ledger ${name}`);
  await print(faults);
  throw new CommandError(
    exitCodes.no,
    `the ledger ${name} is damaged: restore a backup of the database, or have pg_amcheck and REINDEX look at it`,
  );
}
