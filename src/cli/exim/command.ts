import { commandGroup } from '../../host/command.ts';
import { disableCommand } from './disable.ts';
import { enableCommand } from './enable.ts';
import { statusCommand } from './status.ts';

/** `appengine-mailer exim …`: whether Exim hands its mail to the queue. */
export const eximCommand = commandGroup({
  name: 'exim',
  describe: 'Make Exim send through the queue, or stop that',
  commands: [enableCommand, disableCommand, statusCommand],
});
