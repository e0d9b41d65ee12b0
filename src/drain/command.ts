import type { CommandModule, InferredOptionTypes, Options } from 'yargs';
import { parseDuration } from '../host/duration.ts';
import { environmentOptions } from '../host/environment-options.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { secretKeyFaults } from '../host/key-faults.ts';
import { logIsCut } from '../sqlite/log-is-cut.ts';
import { machineNames } from '../host/machine-names.ts';
import { DatabaseReplacedError } from '../sqlite/open-database.ts';
import { DrainJournal } from './drain-journal.ts';
import { SdNotify } from '../host/systemd/sd-notify.ts';
import { withSettings } from '../host/settings.ts';
import { severalValues } from '../host/several-values.ts';
import { stopSignal } from '../host/stop-signal.ts';
import { watchLog } from '../sqlite/watch-log.ts';
import { limits } from '../limits.ts';
import { printable } from '../mail/printable.ts';
import type { Counters } from '../spool/stats.ts';
import { adoptRescued } from '../spool/recover/rescue.ts';
import { spoolFile } from '../spool/spool.ts';
import { becomeOwnerOfSpool, spoolOption, withSpool } from '../spool/with-spool.ts';
import { connectionOptions, v1SuccessOption, wireOption } from '../wire/connection-options.ts';
import type { NoticeOptions } from './reports/notices.ts';
import { retryOptions, retryTimes } from './retry-times.ts';
import { tellReplaced } from './tell-replaced.ts';
import { tellRepaired, withRepairs } from './with-repairs.ts';

/** Options of drain. */
export const drainOptions = {
  spool: spoolOption,
  once: { type: 'boolean', default: false, describe: 'Send what is due, then end' },
  wire: wireOption,
  'v1-success': v1SuccessOption,
  'notice-smtp': {
    type: 'string',
    default: '127.0.0.1:25',
    describe: 'HOST:PORT of the mail server that takes reports to senders',
    requiresArg: true,
  },
  'delay-warnings': {
    type: 'string',
    array: true,
    default: [limits.delayWarnings],
    describe: 'Ages of delayed mail at which its sender is warned; none: never',
    requiresArg: true,
  },
  'notices-per-hour': {
    type: 'number',
    default: limits.noticesPerHour,
    describe: 'Reports that a sender gets before one summary tells the rest',
    requiresArg: true,
  },
  ...retryOptions,
  ...connectionOptions,
} as const satisfies Record<string, Options>;

/** `appengine-mailer drain`: the service, or with --once a single run. */
export const drainCommand: CommandModule<object, InferredOptionTypes<typeof drainOptions>> = {
  command: 'drain',
  describe: 'Send the messages of the spool to the proxy',
  builder: (yargs) => yargs.options(environmentOptions(drainOptions)),
  handler: async (argv) => {
    // The HTTP client is loaded when it is used: every command would pay for it.
    const { openConnection } = await import('../wire/open-connection.ts');
    // What is wrong with the settings is told before what is wrong with the spool.
    await openConnection(argv).close();
    await becomeOwnerOfSpool(argv.spool, () => withSettings(['GMAIL_SECRET_KEY']));
    const notices = {
      ...noticeOptions(argv.noticeSmtp, argv.noticesPerHour),
      names: await machineNames(),
    };
    const delayWarningsMs = parseDelays(argv.delayWarnings);
    const times = retryTimes(argv);
    const v1Success = successStatus(argv.v1Success);
    const { drain } = await import('./drain.ts');
    const { postOnceOver } = await import('../wire/post-once.ts');
    const [journal, notify, stop] = [new DrainJournal(), new SdNotify(), stopSignal()];
    for (const fault of secretKeyFaults()) journal.keyUnsafe(fault);
    const run = async () => {
      if (logIsCut(spoolFile(argv.spool))) journal.spoolLogCut(argv.spool);
      return withSpool(argv.spool, 'drain', async (spool) => {
        await tellRepaired(argv.spool, journal);
        const rescued = adoptRescued(spool, spool.now(), (file) => {
          journal.spoolRepaired(`attention: a message that was saved cannot be read: ${file}`);
        });
        if (rescued > 0) journal.spoolRescued(argv.spool, rescued);
        const unwatch = watchLog(spool.files, {
          grown: (bytes, holders) => journal.spoolLogGrown(argv.spool, bytes, holders),
          shrunk: () => journal.spoolLogShrunk(argv.spool),
        });
        const connection = openConnection(argv);
        const draining = drain({
          spool,
          connection,
          postOnce: postOnceOver(connection, argv.wire, v1Success),
          journal,
          notify,
          notices,
          delayWarningsMs,
          retryTimes: times,
          once: argv.once,
          stop,
          progress: argv.once && process.stdout.isTTY ? showProgress : undefined,
        });
        return draining
          .catch((error: Error) => {
            if (error instanceof DatabaseReplacedError) tellReplaced(spool, journal, error.message);
            throw error;
          })
          .finally(unwatch);
      });
    };
    const ending = argv.once
      ? await run()
      : await withRepairs({ folder: argv.spool, journal, notify, stop }, run);
    if (ending === 'unreachable') {
      throw new CommandError(
        exitCodes.unreachable,
        'the proxy takes no mail now; what is queued stays queued',
      );
    }
  },
};

function showProgress({ queued, sending, sent }: Counters): void {
  const text = printable(`${queued} queued, ${sending} being sent, ${sent} sent so far`);
  process.stdout.write(`\r\x1b[K${text}\r`);
}

function parseDelays(given: readonly string[]): number[] {
  const delays = severalValues(given);
  if (delays.length === 0)
    throw new CommandError(exitCodes.usage, '--delay-warnings names no duration');
  return delays.join() === 'none' ? [] : delays.map(parseDuration);
}

function successStatus(status: number): number {
  if (Number.isInteger(status) && status >= 200 && status < 300) return status;
  throw new CommandError(
    exitCodes.usage,
    `--v1-success takes a status from 200 to 299 and got ${status}`,
  );
}

function noticeOptions(server: string, perHour: number): Omit<NoticeOptions, 'names'> {
  const [, host = '', port = ''] = /^\[?(.+?)\]?:(\d{1,5})$/.exec(server) ?? [];
  if (host === '' || Number(port) > 65_535) {
    throw new CommandError(exitCodes.usage, `--notice-smtp takes HOST:PORT and got ${server}`);
  }
  if (!(perHour >= 1)) {
    throw new CommandError(
      exitCodes.usage,
      `--notices-per-hour takes a number from 1 and got ${perHour}`,
    );
  }
  return { server: { host, port: Number(port) }, perHour };
}
