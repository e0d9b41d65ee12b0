import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { print } from '../print.ts';
import { eximRoute } from './ask-exim.ts';
import { etcExim } from './debian-config.ts';
import { hookPresence } from './hook.ts';
import { unsplitLine } from './was-unsplit.ts';

/** `appengine-mailer exim status`: exits with 1 when Exim does not hand mail to the queue. */
export const statusCommand = command({
  name: 'status',
  describe: 'Say whether Exim hands mail for other hosts to the queue',
  run: async () => {
    const { enabled, text } = eximStatus();
    if (!enabled) throw new CommandError(exitCodes.no, text);
    await print(text);
  },
});

/** Whether Exim, as it is configured now, hands mail to the queue, in a sentence. */
export function eximStatus(): { enabled: boolean; text: string } {
  const presence = hookPresence(etcExim, unsplitLine() !== undefined);
  const { ours, text } = eximRoute();
  if (ours) {
    const old = presence === 'other' ? '; its files are of another version: say enable again' : '';
    return { enabled: true, text: `enabled: Exim hands mail for other hosts to the queue${old}` };
  }
  if (presence === 'none') {
    return { enabled: false, text: 'not enabled: Exim does not hand its mail to the queue' };
  }
  return {
    enabled: false,
    text: `not enabled, although files of it are there: say enable or disable again (Exim: "${text}")`,
  };
}
