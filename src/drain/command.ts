import type { CommandModule, InferredOptionTypes, Options } from 'yargs';
import { environmentOptions } from '../host/environment-options.ts';
import { exitCodes, Failure } from '../host/failure.ts';
import { Journal } from '../host/journal.ts';
import { SdNotify } from '../host/sd-notify.ts';
import { stopSignal } from '../host/stop-signal.ts';
import type { Counters } from '../spool/stats.ts';
import { spoolOption, withSpool } from '../spool/with-spool.ts';
import { connectionOptions } from '../wire/connection-options.ts';

const options = {
  spool: spoolOption,
  once: { type: 'boolean', default: false, describe: 'Send what is due, then end' },
  wire: {
    choices: ['v1', 'v2'] as const,
    default: 'v2' as const,
    describe: 'What the proxy speaks: v1 is for a server of 2012',
  },
  ...connectionOptions,
} as const satisfies Record<string, Options>;

/** `appengine-mailer drain`: the service, or with --once a single run. */
export const drainCommand: CommandModule<object, InferredOptionTypes<typeof options>> = {
  command: 'drain',
  describe: 'Send the messages of the spool to the proxy',
  builder: (yargs) => yargs.options(environmentOptions(options)),
  handler: async (argv) => {
    // The HTTP client is loaded when it is used: every command would pay for it.
    const { openConnection } = await import('../wire/open-connection.ts');
    const connection = openConnection(argv);
    const { drain } = await import('./drain.ts');
    const ending = await withSpool(argv.spool, 'drain', async (spool) =>
      drain({
        spool,
        connection,
        wire: argv.wire,
        journal: new Journal(),
        notify: new SdNotify(),
        once: argv.once,
        stop: stopSignal(),
        progress: argv.once && process.stdout.isTTY ? showProgress : undefined,
      }),
    );
    if (ending === 'unreachable') {
      throw new Failure(
        exitCodes.unreachable,
        'the proxy takes no mail now; what is queued stays queued',
      );
    }
  },
};

function showProgress({ queued, sending, sent }: Counters): void {
  process.stdout.write(`\r\x1b[K${queued} queued, ${sending} being sent, ${sent} sent so far\r`);
}
