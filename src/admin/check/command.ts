import type { CommandModule, InferredOptionTypes, Options } from 'yargs';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, Failure } from '../../host/failure.ts';
import type { Spool } from '../../spool/spool.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { connectionOptions } from '../../wire/connection-options.ts';
import { print } from '../print.ts';
import { checkDrain } from './check-drain.ts';
import { checkExim } from './check-exim.ts';
import { checkPipe } from './check-pipe.ts';
import { checkProgress } from './check-progress.ts';
import { checkSecret } from './check-secret.ts';
import { checkSpool } from './check-spool.ts';
import { fault, findingText, notChecked, type Finding } from './finding.ts';

const options = {
  spool: spoolOption,
  wire: {
    choices: ['v1', 'v2'] as const,
    default: 'v2' as const,
    describe: 'What the proxy speaks: v1 is for a server of 2012',
  },
  ...connectionOptions,
} as const satisfies Record<string, Options>;

const json = { type: 'boolean', default: false, describe: 'One JSON object a line' } as const;

type Arguments = InferredOptionTypes<typeof options & { json: typeof json }>;

/** `appengine-mailer check`: everything between sendmail and the proxy's answer; exits with 1 for a fault. */
export const checkCommand: CommandModule<object, Arguments> = {
  command: 'check',
  describe: 'Check everything between sendmail and the proxy, and say what to do',
  builder: (yargs) => yargs.options({ ...environmentOptions(options), json }),
  handler: async (argv) => {
    let faults = 0;
    for await (const finding of findings(argv)) {
      await print(`${argv.json ? JSON.stringify(finding) : findingText(finding)}\n`);
      if (finding.ok === false) faults += 1;
    }
    if (faults > 0) {
      throw new Failure(
        exitCodes.no,
        faults === 1 ? 'one thing is to be done' : `${faults} things are to be done`,
      );
    }
  },
};

/** In the order of a message's road; each is told when it is known. */
async function* findings(argv: Arguments): AsyncGenerator<Finding> {
  yield checkExim();
  yield checkPipe();
  yield* await onSpool(argv.spool, ['spool', 'durable', 'space'], checkSpool);
  yield checkDrain(argv.spool);
  const { finding, key } = checkSecret();
  yield finding;
  yield* await proxyFindings(argv, key);
  yield* await onSpool(argv.spool, ['progress'], (spool) => [checkProgress(spool, Date.now())]);
}

/** What cannot be checked without a spool is said once to be a fault, by the first of the names. */
async function onSpool(
  folder: string,
  [first = '', ...others]: string[],
  check: (spool: Spool) => Finding[],
): Promise<Finding[]> {
  try {
    return await withSpool(folder, 'operator', async (spool) => check(spool));
  } catch (error) {
    const { message } = error as Error;
    if (first !== 'spool') return [notChecked(first, 'the spool cannot be used')];
    return [
      fault(
        first,
        message,
        'mend that; where there is no spool yet, starting the service makes it',
      ),
      ...others.map((name) => notChecked(name, 'the spool cannot be used')),
    ];
  }
}

async function proxyFindings(argv: Arguments, key: Buffer | undefined): Promise<Finding[]> {
  const { openConnection } = await import('../../wire/open-connection.ts');
  const { checkProxy } = await import('./check-proxy.ts');
  let connection;
  try {
    connection = openConnection({ ...argv, secretKey: key ?? NO_KEY });
  } catch (error) {
    return [
      fault('proxy', (error as Error).message, 'put its URL into /etc/envdir/GMAIL_PROXY_URL'),
    ];
  }
  try {
    return await checkProxy(connection, argv.wire, key !== undefined);
  } finally {
    await connection.close();
  }
}

/** Whether the proxy is there can be seen without a key. */
const NO_KEY = 'none';
