import type { CommandModule } from 'yargs';
import { disableCommand } from './disable.ts';
import { enableCommand } from './enable.ts';
import { statusCommand } from './status.ts';

/** `appengine-mailer exim …`: whether Exim hands its mail to the queue. */
export const eximCommand: CommandModule = {
  command: 'exim',
  describe: 'Make Exim send through the queue, or no longer',
  builder: (yargs) =>
    yargs
      .command(enableCommand)
      .command(disableCommand)
      .command(statusCommand)
      .demandCommand(1, 'Name enable, disable or status.'),
  handler: () => {},
};
