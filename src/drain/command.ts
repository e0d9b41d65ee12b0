import { parseDuration } from '../host/duration.ts';
import { command } from '../host/command.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { secretKeyFaults } from '../host/key-faults.ts';
import { logIsCut } from '../sqlite/log-is-cut.ts';
import { machineNames } from '../host/machine-names.ts';
import { DatabaseReplacedError } from '../sqlite/open-database.ts';
import { drainJournal, type DrainJournal } from './drain-journal.ts';
import { withProgress } from '../host/progress.ts';
import { SdNotify } from '../host/systemd/sd-notify.ts';
import { withSettings } from '../host/settings.ts';
import type { HostPort } from '../host/net/connect-socket.ts';
import { parseHostPort } from '../host/net/host-port.ts';
import { severalValues, takes, wholeNumber } from '../host/option-values.ts';
import type { OptionTable } from '../host/options.ts';
import { stopSignal } from '../host/stop-signal.ts';
import { watchLog } from '../sqlite/watch-log.ts';
import { limits } from '../limits.ts';
import { adoptRescued } from '../spool/recover/rescue.ts';
import { spoolFile, type Spool } from '../spool/spool.ts';
import { becomeOwnerOfSpool, spoolOption, withSpool } from '../spool/with-spool.ts';
import { connectionOptions, v1SuccessOption, wireOption } from '../wire/connection-options.ts';
import { metricsOption } from '../watch/metrics-option.ts';
import { retryOptions, retryTimes } from './retry-times.ts';
import { tellReplaced } from './tell-replaced.ts';
import { tellRepaired, withRepairs } from './with-repairs.ts';

/** Options of drain, all of which are also variables. */
const drainOptions = {
  spool: spoolOption,
  once: { flag: true, describe: 'Send what is due, then end' },
  wire: wireOption,
  'v1-success': v1SuccessOption,
  'notice-smtp': {
    value: 'HOST:PORT',
    parse: parseHostPort,
    default: '127.0.0.1:25',
    describe: 'Mail server that takes the reports to senders',
  },
  'delay-warnings': {
    value: 'DURATIONS',
    parse: parseDelays,
    several: true,
    default: limits.delayWarnings,
    describe: 'Warn the sender when a message has been deferred for so long; none: never warn',
  },
  'notices-per-hour': {
    value: 'NUMBER',
    parse: wholeNumber(1),
    default: String(limits.reportsPerHour),
    describe: 'Reports per sender and hour; further ones are combined into a summary',
  },
  metrics: metricsOption,
  ...retryOptions,
  ...connectionOptions,
} as const satisfies OptionTable;

/** `appengine-mailer drain`: the service, or with --once a single run. */
export const drainCommand = command({
  name: 'drain',
  describe: 'Send the messages of the spool to the proxy',
  isService: true,
  settings: drainOptions,
  run: async (argv, origins) => {
    // The HTTP client is loaded when it is used: every command would pay for it.
    const { openConnections } = await import('../wire/open-connections.ts');
    // Faults of the settings are told before those of the spool.
    await Promise.all(openConnections(argv).map(async (each) => each.close()));
    await becomeOwnerOfSpool(argv.spool, () => withSettings(['GMAIL_SECRET_KEY']));
    const reports = {
      server: argv.noticeSmtp,
      perHour: argv.noticesPerHour,
      names: await machineNames(),
    };
    const times = retryTimes(argv, origins);
    const { drain } = await import('./drain.ts');
    const { Bundler } = await import('../wire/bundler.ts');
    const { postOnceOver } = await import('../wire/post-once.ts');
    const [journal, notify, stop] = [drainJournal(), new SdNotify(), stopSignal()];
    for (const fault of secretKeyFaults()) journal.keyUnsafe(fault);
    const run = async () => {
      if (logIsCut(spoolFile(argv.spool))) journal.spoolLogCut(argv.spool);
      return withSpool(argv.spool, 'drain', async (spool) => {
        await tellRepaired(argv.spool, journal);
        const rescued = adoptRescued(spool, spool.now(), (file) => {
          journal.spoolRepaired(`attention: a message that was saved cannot be read: ${file}`);
        });
        if (rescued > 0) journal.spoolRescued(argv.spool, rescued);
        const logJournal = {
          grown: (bytes: number, holders: readonly string[]) =>
            journal.spoolLogGrown(argv.spool, bytes, holders),
          shrunk: () => journal.spoolLogShrunk(argv.spool),
        };
        const unwatch = watchLog(spool.files, logJournal, spool.clock);
        const proxies = openConnections(argv).map((connection) => ({
          connection,
          postOnce: postOnceOver(connection, argv.wire, argv.v1Success),
          bundler: argv.wire === 'v2' ? new Bundler(connection) : undefined,
        }));
        const unserve = await serve(argv.metrics, spool, journal);
        try {
          const { delayWarnings: delayWarningsMs, once } = argv;
          const options = { spool, proxies, journal, notify, reports, delayWarningsMs, once, stop };
          const all = { ...options, retryTimes: times };
          if (!once) return await drain(all);
          return await withProgress(async (progress) => drain({ ...all, progress }));
        } catch (error) {
          if (error instanceof DatabaseReplacedError) tellReplaced(spool, journal, error.message);
          throw error;
        } finally {
          unwatch();
          await unserve();
        }
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
});

/** Serves metrics where that is asked for. Returns what ends it. */
async function serve(
  at: HostPort | undefined,
  spool: Spool,
  journal: DrainJournal,
): Promise<() => Promise<void>> {
  if (!at) return async () => {};
  const { serveSpool } = await import('../watch/serve-spool.ts');
  const end = new AbortController();
  const serving = serveSpool(at, spool, journal, end.signal);
  return async () => {
    end.abort();
    await serving;
  };
}

/** Ages in milliseconds; `none` is none. Throws ValueError. */
function parseDelays(text: string): number[] {
  const delays = severalValues(text);
  if (delays.length === 0) throw takes('durations such as 4h,24h, or none', text);
  return delays.join() === 'none' ? [] : delays.map(parseDuration);
}
