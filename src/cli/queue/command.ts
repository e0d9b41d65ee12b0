import type { CommandModule } from 'yargs';
import { explainCommand } from './explain.ts';
import { exportCommand } from './export.ts';
import { fsckCommand } from './fsck.ts';
import { idsCommand } from './ids.ts';
import { importCommand } from './import.ts';
import { listCommand } from './list.ts';
import { operateCommands } from './operate.ts';
import { showCommand } from './show.ts';
import { statsCommand } from './stats.ts';

/** `appengine-mailer queue …`: what an administrator sees of the spool and does to it. */
export const queueCommand: CommandModule = {
  command: 'queue',
  describe: 'Look at the queue and work on it',
  builder: (yargs) => {
    for (const command of operateCommands) yargs.command(command);
    return yargs
      .command(listCommand)
      .command(showCommand)
      .command(explainCommand)
      .command(statsCommand)
      .command(exportCommand)
      .command(importCommand)
      .command(fsckCommand)
      .command(idsCommand)
      .demandCommand(0, 1);
  },
  handler: () => {},
};
