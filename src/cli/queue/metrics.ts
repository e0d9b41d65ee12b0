import { resolve } from 'node:path';
import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { anyText } from '../../host/option-values.ts';
import { replaceFile } from '../../host/replace-file.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { metricsText } from '../../watch/metric.ts';
import { spoolMetrics } from '../../watch/spool-metrics.ts';
import { spoolView } from '../../watch/spool-view.ts';
import { printText } from '../print.ts';

/** `appengine-mailer queue metrics`: the figures of the queue for Prometheus. */
export const metricsCommand = command({
  name: 'metrics',
  describe: 'Print the metrics of the queue for Prometheus',
  settings: { spool: spoolOption },
  options: {
    openmetrics: { flag: true, describe: 'In the format of OpenMetrics' },
    output: {
      value: 'FILE',
      parse: anyText,
      describe: 'Write them into this file, whole or not at all',
    },
  },
  run: async ({ spool: folder, openmetrics, output }) => {
    const metrics = await withSpool(folder, 'operator', async (spool) =>
      spoolMetrics(spoolView(spool)),
    );
    const text = metricsText(metrics, openmetrics ? 'openmetrics' : 'prometheus');
    if (output === undefined) await printText(text.trimEnd());
    else write(resolve(output), text);
  },
});

/** Throws CommandError 77 or 1. The owner of the spool writes it, also where root gave the command. */
function write(file: string, text: string): void {
  try {
    replaceFile(file, text);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
    throw new CommandError(
      denied ? exitCodes.notPermitted : exitCodes.no,
      `cannot write ${file}: ${message}; the owner of the spool has to be able to write to its folder`,
    );
  }
}
