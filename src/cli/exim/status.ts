import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { findingText } from '../../host/finding.ts';
import { checkIntake } from '../check/check-intake.ts';
import { checkPipe } from '../check/check-pipe.ts';
import { print } from '../print.ts';
import { eximStatus } from './exim-status.ts';

/** `appengine-mailer exim status`: exits with 1 when Exim does not hand mail to the queue. */
export const statusCommand = command({
  name: 'status',
  describe: 'Say whether Exim hands mail for other hosts to the queue, and try how it does',
  run: async () => {
    const { way, text } = eximStatus();
    if (!way) throw new CommandError(exitCodes.no, text);
    await print([text, ...[await checkIntake(), checkPipe()].map(findingText)]);
  },
});
