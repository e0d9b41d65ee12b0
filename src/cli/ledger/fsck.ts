import type { CommandModule } from 'yargs';
import { ledgerFile, ledgerOption } from '../../proxy/ledger/with-ledger.ts';
import { repairLedger } from './repair-ledger.ts';

/** `appengine-mailer ledger fsck`: says what is wrong with a ledger, and repairs it. */
export const ledgerFsckCommand: CommandModule<object, { ledger?: string | undefined }> = {
  command: 'fsck',
  describe: 'Find what is damaged in the ledger and repair the rest',
  builder: (yargs) => yargs.options(ledgerOption()),
  handler: async ({ ledger }) => repairLedger(ledgerFile(ledger)),
};
