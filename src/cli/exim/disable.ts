import { existsSync } from 'node:fs';
import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { print } from '../print.ts';
import { eximRoute } from './ask-exim.ts';
import { etcExim, setSplitLine, settingsFile, TrialConfig, updateConfig } from './debian-config.ts';
import { takeHook } from './hook.ts';
import { reload } from './reload.ts';
import { requireRoot } from './require-root.ts';
import { unsplitDiff } from './unsplit-diff.ts';
import { forgetUnsplit, unsplitLine } from './was-unsplit.ts';

/** `appengine-mailer exim disable`: Exim sends as before `enable`. Does what is left to do. */
export const disableCommand = command({
  name: 'disable',
  describe: 'Make Exim use its smarthost again',
  run: async () => {
    requireRoot();
    takeHook(etcExim);
    if (existsSync(settingsFile(etcExim))) {
      try {
        await unsplit();
        updateConfig();
      } catch (error) {
        throw new CommandError(
          exitCodes.busy,
          `${(error as Error).message}; Exim goes on as it was configured: fix that and say disable again`,
        );
      }
    }
    forgetUnsplit();
    const { way, text } = eximRoute();
    if (way) {
      throw new CommandError(
        exitCodes.configuration,
        `Exim still hands mail to the queue, by a configuration that is not of this command: ${text}`,
      );
    }
    await print('Exim sends mail for other hosts as before. Queued mail stays in the queue.');
    await reload();
  },
});

/** Puts the line back that `enable` changed, and says what else changes by that. */
async function unsplit(): Promise<void> {
  const line = unsplitLine();
  if (line === undefined) return;
  const trial = new TrialConfig();
  try {
    const difference = unsplitDiff(trial);
    if (difference.length > 0) {
      const note = 'exim4.conf.template is read again: the above is no longer in force.';
      await print([...difference, note]);
    }
  } finally {
    trial.remove();
  }
  setSplitLine(etcExim, line);
}
