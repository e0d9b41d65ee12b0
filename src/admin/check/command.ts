import { accessSync, constants, existsSync } from 'node:fs';
import type { CommandModule, InferredOptionTypes, Options } from 'yargs';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, Failure } from '../../host/failure.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { connectionOptions, wireOption } from '../../wire/connection-options.ts';
import { print, printJson } from '../print.ts';
import { accountName } from './account-name.ts';
import { checkDrain } from './check-drain.ts';
import { checkExim } from './check-exim.ts';
import { checkPipe } from './check-pipe.ts';
import { checkProgress } from './check-progress.ts';
import { checkSecret } from './check-secret.ts';
import { checkSpool } from './check-spool.ts';
import { fault, findingText, notChecked, type Finding } from './finding.ts';

const options = {
  spool: spoolOption,
  wire: wireOption,
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
      if (argv.json) await printJson(finding);
      else await print(findingText(finding));
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
  const { spool, progress } = await spoolFindings(argv.spool);
  yield* spool;
  yield checkDrain(argv.spool);
  const { finding, key } = checkSecret();
  yield finding;
  yield* await proxyFindings(argv, key);
  yield progress;
}

async function spoolFindings(folder: string): Promise<{ spool: Finding[]; progress: Finding }> {
  try {
    // SQLite would only say that it cannot open the file.
    if (existsSync(folder)) accessSync(folder, constants.W_OK);
    return await withSpool(folder, 'operator', async (spool) => ({
      spool: checkSpool(spool),
      progress: checkProgress(spool, Date.now()),
    }));
  } catch (error) {
    const todo =
      (error as NodeJS.ErrnoException).code === 'EACCES'
        ? `check as root, or as a member of group ${accountName}`
        : 'mend that; where there is no spool yet, the service makes it when it starts';
    return {
      spool: [
        fault('spool', (error as Error).message, todo),
        unusable('durable'),
        unusable('space'),
        unusable('log'),
      ],
      progress: unusable('progress'),
    };
  }
}

function unusable(check: string): Finding {
  return notChecked(check, 'the spool cannot be used');
}

async function proxyFindings(argv: Arguments, key: Buffer | undefined): Promise<Finding[]> {
  const { openConnection } = await import('../../wire/open-connection.ts');
  const { checkProxy, unreached } = await import('./check-proxy.ts');
  let connection;
  try {
    connection = openConnection({ ...argv, secretKey: key ?? NO_KEY });
  } catch (error) {
    const todo =
      'mend it in /etc/envdir or /etc/default/appengine-mailer, then systemctl restart appengine-mailer';
    return unreached(fault('proxy', (error as Error).message, todo));
  }
  try {
    return await checkProxy(connection, argv.wire, key !== undefined);
  } finally {
    await connection.close();
  }
}

/** Whether the proxy is there can be seen without a key. */
const NO_KEY = 'none';
