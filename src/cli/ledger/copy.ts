import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { ValueError } from '../../host/option-values.ts';
import { isPostgres, ledgerText } from '../../proxy/ledger/postgres/postgres-url.ts';
import {
  becomeOwnerOfLedger,
  chosenLedger,
  copyIntoPostgres,
  ledgerOption,
} from '../../proxy/ledger/with-ledger.ts';
import { print } from '../print.ts';
import { withLedgerLock } from './repair-ledger.ts';

/** `appengine-mailer ledger copy`: copies a ledger from a file into PostgreSQL. */
export const ledgerCopyCommand = command({
  name: 'copy',
  describe: 'Copy a ledger from a file into PostgreSQL, while its proxy is stopped',
  settings: { ledger: ledgerOption },
  options: {
    to: {
      value: 'postgres:[//HOST/DATABASE]',
      parse: (text: string) => {
        // It may have a password in it.
        if (!isPostgres(text)) throw new ValueError('takes postgres: or postgres://HOST/DATABASE');
        return ledgerText(text);
      },
      describe: 'Where to copy it',
    },
  },
  run: async ({ ledger, to }) => {
    const { kind, name: file } = chosenLedger(ledger);
    if (kind !== 'file' || to === undefined) {
      throw new CommandError(exitCodes.usage, 'copy wants --ledger FILE and --to postgres:…');
    }
    await becomeOwnerOfLedger(file, ['PGPASSWORD']);
    await withLedgerLock(file, async () => {
      const { messages, recipients, unknown } = await copyIntoPostgres(file, to, Date.now());
      await print([
        `copied from ${file} into ${to}, and counted: ${messages} messages, ${recipients} recipients that were sent, ${unknown} unknown`,
        `start the proxies with --ledger ${to}, and not with the file again`,
      ]);
    });
  },
});
