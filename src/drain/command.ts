import { readFileSync } from 'node:fs';
import type { ArgumentsCamelCase, CommandModule, InferredOptionTypes, Options } from 'yargs';
import { environmentOptions } from '../host/environment-options.ts';
import { exitCodes, Failure } from '../host/failure.ts';
import { Journal } from '../host/journal.ts';
import { stopSignal } from '../host/stop-signal.ts';
import { firstLine, readSetting, type SettingName } from '../host/settings.ts';
import type { Counters } from '../spool/stats.ts';
import { spoolOption, withSpool } from '../spool/with-spool.ts';
import type { Connection } from '../wire/connection.ts';

const options = {
  spool: spoolOption,
  once: { type: 'boolean', default: false, describe: 'Send what is due, then end' },
  wire: {
    choices: ['v1', 'v2'] as const,
    default: 'v2' as const,
    describe: 'What the proxy speaks: v1 is for a server of 2012',
  },
  'proxy-url': {
    type: 'string',
    describe: 'Where the proxy is; else GMAIL_PROXY_URL',
    requiresArg: true,
  },
  'ca-file': {
    type: 'string',
    describe: 'PEM file of further certificate authorities to trust',
    requiresArg: true,
  },
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
    const connection = await connect(argv);
    const { drain } = await import('./drain.ts');
    const ending = await withSpool(argv.spool, 'drain', async (spool) =>
      drain({
        spool,
        connection,
        wire: argv.wire,
        journal: new Journal(),
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

/** The HTTP client is loaded when it is used: every command would pay for it. */
async function connect(argv: Arguments): Promise<Connection> {
  const { Connection, parseProxyUrl } = await import('../wire/connection.ts');
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
