import { accessSync, constants, existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { fault, notChecked, type Finding } from '../../host/finding.ts';
import { asOwner, ownerToBecome } from '../../host/give-up-root.ts';
import { anyText, ValueError } from '../../host/option-values.ts';
import type { OptionTable, Values } from '../../host/options.ts';
import { runCommandWith } from '../../host/run-command.ts';
import { withoutSecrets } from '../../host/settings.ts';
import { addressFault } from '../../mail/address-fault.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { connectionOptions, wireOption } from '../../wire/connection-options.ts';
import { jsonLinesOption } from '../json-options.ts';
import { printJson } from '../print.ts';
import { accountName } from './account-name.ts';
import { checkDrain } from './check-drain.ts';
import { checkIntake } from './check-intake.ts';
import { checkMailServer } from './check-mail-server.ts';
import { checkNames } from './check-names.ts';
import { checkPipe } from './check-pipe.ts';
import { checkProgress } from './check-progress.ts';
import { checkSecret } from './check-secret.ts';
import { checkSpool, checkWritable } from './check-spool.ts';
import { followMessage } from './follow-message.ts';
import { sendFindings } from './send-findings.ts';
import { requireNoFault, tellFindings } from './tell-findings.ts';

const settings = { spool: spoolOption, wire: wireOption, ...connectionOptions } as const;
const options = {
  json: jsonLinesOption,
  send: {
    value: 'ADDRESS',
    parse: parseAddress,
    describe: 'Then send a message to this address, and follow it until it is sent',
  },
  // What this program asks of itself, as the owner of the spool.
  part: { choices: ['spool'] },
  follow: { parse: anyText },
} as const satisfies OptionTable;

type Arguments = Values<typeof settings> & Values<typeof options>;

/** `appengine-mailer check`: everything between sendmail and the proxy's answer; exits with 1 for a fault. */
export const checkCommand = command({
  name: 'check',
  describe: 'Check everything between sendmail and the proxy, and say what to do',
  settings,
  options,
  run: async (argv) => {
    if (argv.part === 'spool') return printJson(await spoolFindings(argv.spool));
    if (argv.follow !== undefined) return follow(argv.spool, argv.follow);
    const found = await tellFindings(findings(argv), argv.json);
    if (argv.send === undefined) requireNoFault(found);
    else await send(argv.send, found, argv);
  },
});

/** Sends a message where Exim would hand it to the queue. Throws CommandError 1 unless it was sent, whatever else was found. */
async function send(address: string, found: readonly Finding[], argv: Arguments): Promise<void> {
  const exim = found.find(({ check }) => check === 'exim');
  if (exim?.ok !== true) {
    const why = exim
      ? 'since Exim would not hand it to the queue: see exim above'
      : 'since --send needs Exim. Send one yourself, and look for it with: appengine-mailer queue list --state all';
    throw new CommandError(exitCodes.no, `no message was sent, ${why}`);
  }
  const told = await tellFindings(sendFindings(address, argv.spool), argv.json);
  const { check, ok } = told.at(-1) ?? {};
  if (check === 'verdict' && ok === true) return;
  throw new CommandError(exitCodes.no, 'the message was not sent: see the last line');
}

function parseAddress(text: string): string {
  const wrong = addressFault(text);
  if (wrong === undefined) return text;
  throw new ValueError(`takes an address: ${wrong}`);
}

async function follow(folder: string, eximId: string): Promise<void> {
  await withSpool(folder, 'operator', async (spool) => {
    await tellFindings(followMessage(spool, eximId), true);
  });
}

/** In the order of a message's road; each is told when it is known. */
async function* findings(argv: Arguments): AsyncGenerator<Finding> {
  yield checkMailServer();
  yield await checkIntake();
  yield checkPipe();
  yield await checkNames();
  const { spool, drain, progress } = await spoolFindingsAsOwner(argv.spool);
  yield* spool;
  yield drain;
  const { finding, key } = checkSecret();
  yield finding;
  yield* await proxyFindings(argv, key);
  yield progress;
}

/** What is found in the spool's folder. */
interface SpoolFindings {
  spool: Finding[];
  drain: Finding;
  progress: Finding;
}

/** Has the owner of the folder look into it, where this is root (law 14); what only root can see, root looks at. */
async function spoolFindingsAsOwner(folder: string): Promise<SpoolFindings> {
  let owner;
  try {
    owner = existsSync(folder) ? ownerToBecome(folder) : undefined;
  } catch (error) {
    return {
      ...withoutSpool(error as Error),
      drain: notChecked('drain', (error as Error).message),
    };
  }
  if (!owner) return spoolFindings(folder);
  const args = [process.argv[1] ?? '', 'check', '--part', 'spool', '--spool', resolve(folder)];
  const env = withoutSecrets(process.env);
  const { code, stdout, stderr } = runCommandWith({ env }, ...asOwner(owner, args));
  if (code !== 0) {
    const error = new Error(stderr.trim());
    return { ...withoutSpool(error), drain: notChecked('drain', error.message) };
  }
  const found = JSON.parse(stdout) as SpoolFindings;
  const [first, ...others] = found.spool;
  return { ...found, spool: first?.ok ? [checkWritable(folder), ...others] : found.spool };
}

async function spoolFindings(folder: string): Promise<SpoolFindings> {
  const drain = checkDrain(folder);
  try {
    // SQLite would only say that it cannot open the file.
    if (existsSync(folder)) accessSync(folder, constants.W_OK);
    const writable = checkWritable(folder);
    return await withSpool(folder, 'operator', async (spool) => ({
      spool: [writable, ...checkSpool(spool)],
      drain,
      progress: checkProgress(spool, Date.now()),
    }));
  } catch (error) {
    return { ...withoutSpool(error as NodeJS.ErrnoException), drain };
  }
}

function withoutSpool(error: NodeJS.ErrnoException): Omit<SpoolFindings, 'drain'> {
  const todo = 'fix that; where there is no spool yet, the service makes it when it starts';
  const spool =
    error.code === 'EACCES'
      ? notChecked('spool', `only root and the group ${accountName} may look`)
      : fault('spool', error.message, todo);
  const others = ['durable', 'space', 'log'].map(unusable);
  return {
    spool: [spool, ...others],
    progress: unusable('progress'),
  };
}

function unusable(check: string): Finding {
  return notChecked(check, 'the spool cannot be used');
}

async function proxyFindings(argv: Arguments, key: Buffer | undefined): Promise<Finding[]> {
  const { openConnections } = await import('../../wire/open-connections.ts');
  const { checkProxy, unreached } = await import('./check-proxy.ts');
  const { severalProxies } = await import('./several-proxies.ts');
  let connections;
  try {
    connections = openConnections({ ...argv, secretKey: key ?? NO_KEY });
  } catch (error) {
    const todo =
      'fix it in /etc/envdir or /etc/default/appengine-mailer, then systemctl restart appengine-mailer';
    return unreached(fault('proxy', (error as Error).message, todo));
  }
  try {
    const hasKey = key !== undefined;
    const found = connections.map(async (each) => checkProxy(each, argv.wire, hasKey));
    return severalProxies(connections, await Promise.all(found));
  } finally {
    await Promise.all(connections.map(async (each) => each.close()));
  }
}

/** Whether the proxy is there can be seen without a key. */
const NO_KEY = 'none';
