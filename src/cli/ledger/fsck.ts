import { command } from '../../host/command.ts';
import { ledgerFile, ledgerOption } from '../../proxy/ledger/with-ledger.ts';
import { repairLedger } from './repair-ledger.ts';

/** `appengine-mailer ledger fsck`: says what is wrong with a ledger, and repairs it. */
export const ledgerFsckCommand = command({
  name: 'fsck',
  describe: 'Check the ledger and repair it',
  settings: { ledger: ledgerOption },
  run: async ({ ledger }) => repairLedger(ledgerFile(ledger)),
});
