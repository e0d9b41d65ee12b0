import type { CommandModule } from 'yargs';
import { ledgerFsckCommand } from './fsck.ts';
import { ledgerListCommand } from './list.ts';
import { ledgerShowCommand } from './show.ts';
import { ledgerStatsCommand } from './stats.ts';

/** `appengine-mailer ledger …`: what an administrator sees of what a proxy remembers. */
export const ledgerCommands: CommandModule = {
  command: 'ledger',
  describe: 'Look at what a proxy remembers',
  builder: (yargs) =>
    yargs
      .command(ledgerListCommand)
      .command(ledgerShowCommand)
      .command(ledgerStatsCommand)
      .command(ledgerFsckCommand)
      .demandCommand(0, 1),
  handler: () => {},
};
