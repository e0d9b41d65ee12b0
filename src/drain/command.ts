import { readFileSync } from 'node:fs';
import type { ArgumentsCamelCase, CommandModule, InferredOptionTypes, Options } from 'yargs';
import { environmentOptions } from '../host/environment-options.ts';
import { exitCodes, Failure } from '../host/failure.ts';
import { Journal } from '../host/journal.ts';
import { stopSignal } from '../host/stop-signal.ts';
import { firstLine, readSetting, type SettingName } from '../host/settings.ts';
import { drainLock } from '../spool/drain-lock.ts';
import { openSpool, orFailure, spoolOption } from '../spool/open-spool.ts';
import type { Counters } from '../spool/stats.ts';
import { Connection, parseProxyUrl } from '../wire/connection.ts';
import { drain } from './drain.ts';

const options = {
  spool: spoolOption,
  once: { type: 'boolean', default: false, describe: 'Send what is due, then end' },
  'proxy-url': { type: 'string', describe: 'Where the proxy is; else GMAIL_PROXY_URL' },
  'ca-file': { type: 'string', describe: 'PEM file of further certificate authorities to trust' },
  'allow-insecure': {
    type: 'boolean',
    default: false,
    describe: 'Allow http: to other machines, where anybody on the way can read the mail',
  },
} as const satisfies Record<string, Options>;

type Arguments = ArgumentsCamelCase<InferredOptionTypes<typeof options>>;

/** `appengine-mailer drain`: the service, or with --once a single run. */
export const drainCommand: CommandModule<object, InferredOptionTypes<typeof options>> = {
  command: 'drain',
  describe: 'Send the messages of the spool to the proxy',
  builder: (yargs) => yargs.options(environmentOptions(options)),
  handler: async (argv) => {
    const connection = connect(argv);
    const lock = orFailure(argv.spool, () => drainLock(argv.spool));
    if (!lock) throw new Failure(exitCodes.busy, `another drain is at work on ${argv.spool}`);
    const spool = openSpool(argv.spool, 'drain');
    const ending = await drain({
      spool,
      connection,
      journal: new Journal(),
      once: argv.once,
      stop: stopSignal(),
      progress: argv.once && process.stdout.isTTY ? showProgress : undefined,
    });
    spool.close();
    lock.release();
    if (ending === 'unreachable') {
      throw new Failure(
        exitCodes.unreachable,
        'the proxy takes no mail now; what is queued stays queued',
      );
    }
  },
};

function connect(argv: Arguments): Connection {
  const sources = { environment: process.env };
  const urlText = argv.proxyUrl ?? firstLine(required('GMAIL_PROXY_URL')).toString();
  const key = firstLine(required('GMAIL_SECRET_KEY'));
  if (key.length === 0) throw new Failure(exitCodes.configuration, 'GMAIL_SECRET_KEY is empty');
  try {
    const url = parseProxyUrl(urlText, argv.allowInsecure);
    const ca = argv.caFile === undefined ? undefined : readFileSync(argv.caFile, 'utf8');
    return new Connection({ url, key, ca });
  } catch (error) {
    throw new Failure(exitCodes.configuration, (error as Error).message);
  }

  function required(name: SettingName): Buffer {
    const value = readSetting(name, sources);
    if (value) return value;
    throw new Failure(
      exitCodes.configuration,
      `${name} is not set: put it into the environment or into /etc/envdir/${name}`,
    );
  }
}

function showProgress({ queued, sending, sent }: Counters): void {
  process.stdout.write(`\r\x1b[K${queued} queued, ${sending} being sent, ${sent} sent so far\r`);
}
