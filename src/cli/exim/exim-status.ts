import { eximRoute, eximSocket, type Way } from './ask-exim.ts';
import { etcExim } from './debian-config.ts';
import { hookPresence } from './hook.ts';
import { unsplitLine } from './was-unsplit.ts';

/** Whether Exim, as it is configured now, hands mail to the queue, in which way, and all that in a sentence. */
export function eximStatus(): { way: Way | undefined; text: string } {
  const presence = hookPresence(etcExim, unsplitLine() !== undefined);
  const { way, text } = eximRoute();
  if (way) {
    const by = way === 'lmtp' ? `by LMTP (${eximSocket()})` : 'by exim-pipe';
    const old = presence === 'other' ? '; its files are of another version: say enable again' : '';
    return { way, text: `enabled: Exim hands mail for other hosts to the queue ${by}${old}` };
  }
  if (presence === 'none') {
    return { way, text: 'not enabled: Exim does not hand its mail to the queue' };
  }
  return {
    way,
    text: `not enabled, although files of it are there: say enable or disable again (Exim: "${text}")`,
  };
}
