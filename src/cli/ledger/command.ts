import { commandGroup } from '../../host/command.ts';
import { ledgerCopyCommand } from './copy.ts';
import { ledgerFsckCommand } from './fsck.ts';
import { ledgerListCommand } from './list.ts';
import { ledgerShowCommand } from './show.ts';
import { ledgerStatsCommand } from './stats.ts';

/** `appengine-mailer ledger …`: what a proxy remembers. */
export const ledgerCommand = commandGroup({
  name: 'ledger',
  describe: 'Show what a proxy remembers',
  commands: [
    ledgerListCommand,
    ledgerShowCommand,
    ledgerStatsCommand,
    ledgerFsckCommand,
    ledgerCopyCommand,
  ],
});
