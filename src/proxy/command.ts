import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { ArgumentsCamelCase, CommandModule, InferredOptionTypes, Options } from 'yargs';
import { becomeOwner } from '../host/become-owner.ts';
import { exclusiveLock } from '../sqlite/exclusive-lock.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { logIsCut } from '../sqlite/log-is-cut.ts';
import { proxyJournal } from './proxy-journal.ts';
import { tellRepair } from '../sqlite/recover/repair-report.ts';
import { SdNotify } from '../host/systemd/sd-notify.ts';
import { firstLine, readSetting, withSettings, type SettingName } from '../host/settings.ts';
import { stopSignal } from '../host/stop-signal.ts';
import { systemdSockets } from '../host/systemd/systemd-sockets.ts';
import { watchLog } from '../sqlite/watch-log.ts';
import { limits } from '../limits.ts';
import { parseAllowedSenders } from './policy/allowed-senders.ts';
import {
  backendOptions,
  backendText,
  chooseBackend,
  keptText,
  openBackend,
} from './backends/chosen-backend.ts';
import { parseDefaultSender } from './policy/default-sender.ts';
import { Deliverer } from './deliverer.ts';
import { keepHouse } from './ledger/keep-house.ts';
import { Keyring, readKeys } from './policy/keyring.ts';
import { ledgerFault } from './ledger/ledger-fault.ts';
import { Ledger } from './ledger/ledger.ts';
import { parseListen, unwanted, type Places } from './http/listen.ts';
import { startProxy } from './http/proxy.ts';
import { parseRate } from './policy/rate-limit.ts';
import { reportWork } from './report-work.ts';
import { senderPolicy, type SenderRules } from './policy/sender-policy.ts';
import { sendersText } from './policy/senders-text.ts';
import { watchKeys } from './policy/watch-keys.ts';
import { watchLedger } from './ledger/watch-ledger.ts';

/** Options of the proxy. */
export const proxyOptions = {
  listen: {
    type: 'string',
    describe: 'HOST:PORT or unix:PATH to listen on; else the sockets of systemd, or 127.0.0.1:8025',
    requiresArg: true,
  },
  ...backendOptions,
  ledger: {
    type: 'string',
    default: './ledger.db',
    describe: 'File that remembers what was sent',
    requiresArg: true,
  },
  dir: {
    type: 'string',
    default: './delivered',
    describe: 'Folder of the file backend',
    requiresArg: true,
  },
  'keys-file': {
    type: 'string',
    describe: 'File of keys, one a line; else GMAIL_SECRET_KEYS or GMAIL_SECRET_KEY',
    requiresArg: true,
  },
  'max-recipients': {
    type: 'number',
    default: limits.postRecipients,
    describe: 'Recipients that are taken in one post',
    requiresArg: true,
  },
  'allow-sender': {
    type: 'string',
    array: true,
    describe:
      'Addresses and @domains that may be a sender; else all may. The null sender may with such a From, and in reports with any',
    requiresArg: true,
  },
  'default-sender': {
    type: 'string',
    describe:
      'Address, perhaps with a name, in the place of a sender that may not; else GMAIL_DEFAULT_SENDER',
    requiresArg: true,
  },
  'fix-sender': {
    type: 'boolean',
    default: false,
    describe: 'Send as the default sender what may not be sent as its own',
  },
  rate: {
    type: 'string',
    describe: 'Posts that a key may make, such as 60/min',
    requiresArg: true,
  },
  'soft-bounce': {
    type: 'boolean',
    default: false,
    describe: 'Refuse no mail for good (5.x.x becomes 4.x.x), while the proxy is being set up',
  },
} as const satisfies Record<string, Options>;

type Arguments = ArgumentsCamelCase<
  Omit<InferredOptionTypes<typeof proxyOptions>, 'ledger' | 'dir'>
>;

/** `appengine-mailer proxy`, for which proxyOptions are to be set up: takes signed messages over HTTP and sends them on. */
export const proxyCommand: CommandModule<object, InferredOptionTypes<typeof proxyOptions>> = {
  command: 'proxy',
  describe: 'Take signed messages over HTTP and send them on',
  handler: async ({ ledger: ledgerPath, dir, ...argv }) => {
    // For the journal: it may be read where the working directory is not known.
    const ledgerFile = resolve(ledgerPath);
    await becomeOwnerWithSecrets(ledgerFile, () => {
      if (argv.keysFile === undefined) proxyJournal().keysTrouble(READ_ONCE);
    });
    const keys = new Keyring(() => readKeys(argv.keysFile));
    const rules = senderRules(argv);
    const rate = argv.rate === undefined ? undefined : parseRate(argv.rate);
    const places = placesOf(argv.listen);
    if (!Number.isSafeInteger(argv.maxRecipients) || argv.maxRecipients < 1) {
      throw new CommandError(
        exitCodes.configuration,
        '--max-recipients takes a whole number above 0',
      );
    }
    const journal = proxyJournal();
    const chosen = await chooseBackend(argv, resolve(dir));
    const policy = senderPolicy(rules, journal);
    const { maxRecipients: recipientsMax, softBounce } = argv;
    // Another proxy that has the ledger is told before its address is; where there was none, no file is made until this
    // one listens.
    const lockFile = `${ledgerFile}.lock`;
    let lock = existsSync(lockFile) ? lockLedger(ledgerFile, lockFile) : undefined;
    const open = async () => {
      const backend = await openBackend(chosen, journal);
      lock ??= lockLedger(ledgerFile, lockFile);
      if (logIsCut(ledgerFile)) journal.ledgerLogCut(ledgerFile);
      const ledger = orFailure(ledgerFile, () => new Ledger(ledgerFile, Date.now()));

      await tellRepair(ledgerFile, (sentences) => {
        for (const sentence of sentences) journal.ledgerRepaired(sentence);
      });
      const options = { ledger, backend, policy, journal, recipientsMax, softBounce };
      const deliverer = new Deliverer(options);
      const note = keptText(chosen);
      return { keys, rate, fixSender: rules.fix, note, deliverer, ledger };
    };
    const proxy = await startProxy({ ...places, journal }, open).catch((error: Error) => {
      lock?.release();
      throw error;
    });
    const { deliverer, ledger } = proxy.service;
    const replaced = new AbortController();
    const stop = AbortSignal.any([stopSignal(), replaced.signal]);
    watchKeys(keys, journal, stop);
    const address = proxy.addresses.join(' and ');
    const about = `${backendText(chosen)}, ${sendersText(rules, keys.keys)}`;
    journal.started(address, about, { ledger, keys: keys.size, softBounce: argv.softBounce });
    if (ledger.unknown.listed > 0) journal.unknownListed(ledgerFile, ledger.unknown);
    const held = unwanted(places, proxy.addresses);
    if (held.length > 0) journal.listensElsewhere(held);
    for (const fault of keys.faults) journal.keyUnsafe(fault);
    const watched = watchLedger(ledger, stop).then((fault) => {
      if (fault) journal.ledgerReplaced(fault.message);
      replaced.abort();
      return fault;
    });
    const unwatchLog = watchLog(ledger.files, {
      grown: (bytes, holders) => journal.ledgerLogGrown(ledgerFile, bytes, holders),
      shrunk: () => journal.ledgerLogShrunk(ledgerFile),
    });
    void reportWork(`${address}; ${about}`, deliverer, new SdNotify(), stop);
    await keepHouse(ledger, journal, stop);
    await proxy.stop();
    unwatchLog();
    ledger.close();
    lock?.release();
    journal.stopped(address);
    const fault = await watched;
    if (fault)
      throw new CommandError(exitCodes.spool, `the ledger cannot be used: ${fault.message}`);
  },
};

/** Only root may read the secrets, which are therefore read `before` it is given up. Throws Failure 78. */
export async function becomeOwnerWithSecrets(file: string, before = () => {}): Promise<void> {
  const unusable = ({ message }: Error) =>
    new CommandError(exitCodes.configuration, `cannot use ${file}: ${message}`);
  await becomeOwner(dirname(file), unusable, () => {
    before();
    return withSettings(SECRETS);
  });
}

const READ_ONCE =
  'root, which may read them, is given up, so that they are not read again, neither on SIGHUP nor when their file changes. ' +
  'To do: restart the proxy to change them, or use --keys-file, a file that the owner of the folder of the ledger may read';

const SECRETS: readonly SettingName[] = [
  'GMAIL_SECRET_KEYS',
  'GMAIL_SECRET_KEY',
  'APPENGINE_SMTP_PASSWORD',
  'APPENGINE_SMTP_OAUTH',
];

/** Who may send, by options and settings. Throws Failure 78. */
export function senderRules({ allowSender, defaultSender, fixSender }: Arguments): SenderRules {
  const setting = readSetting('GMAIL_DEFAULT_SENDER', { environment: process.env, folder: '.' });
  const text = defaultSender ?? (setting && firstLine(setting).toString()) ?? '';
  const parsed = parseDefaultSender(text.trim());
  if (fixSender && !parsed) {
    throw new CommandError(
      exitCodes.configuration,
      '--fix-sender needs --default-sender or GMAIL_DEFAULT_SENDER',
    );
  }
  return {
    allowed: allowSender && parseAllowedSenders(allowSender),
    defaultSender: parsed,
    fix: fixSender,
  };
}

/** What systemd holds open is listened on in any case: what came there while no proxy ran waits for an answer. */
function placesOf(text: string | undefined): Places {
  const handedOver = systemdSockets();
  const address = text ?? (handedOver.length > 0 ? undefined : '127.0.0.1:8025');
  return { wanted: address === undefined ? undefined : parseListen(address), handedOver };
}

function lockLedger(ledgerFile: string, lockFile: string): { release(): void } {
  const lock = orFailure(ledgerFile, () => exclusiveLock(lockFile));
  if (!lock) throw new CommandError(exitCodes.busy, `another proxy is at work on ${ledgerFile}`);
  return lock;
}

function orFailure<T>(file: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new CommandError(
      exitCodes.configuration,
      `cannot use ${file}: ${ledgerFault(file, error as Error)}`,
    );
  }
}
