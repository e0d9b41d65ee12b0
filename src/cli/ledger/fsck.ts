import { command } from '../../host/command.ts';
import { chosenLedger, ledgerOption } from '../../proxy/ledger/with-ledger.ts';
import { inspectShared } from './inspect-shared.ts';
import { repairLedger } from './repair-ledger.ts';

/** `appengine-mailer ledger fsck`: says what is wrong with a ledger, and repairs it where it is a file. */
export const ledgerFsckCommand = command({
  name: 'fsck',
  describe: 'Check the ledger and repair it',
  settings: { ledger: ledgerOption },
  run: async ({ ledger }) => {
    const { kind, name } = chosenLedger(ledger);
    await (kind === 'file' ? repairLedger(name) : inspectShared(name));
  },
});
