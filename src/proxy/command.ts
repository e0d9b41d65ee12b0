import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { command } from '../host/command.ts';
import { becomeOwner } from '../host/become-owner.ts';
import { exclusiveLock } from '../sqlite/exclusive-lock.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { logIsCut } from '../sqlite/log-is-cut.ts';
import { anyText, wholeNumber } from '../host/option-values.ts';
import { parseSetting, type OptionTable, type Origins, type Values } from '../host/options.ts';
import { ProxyJournal } from './proxy-journal.ts';
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
import { parseDefaultSender, type DefaultSender } from './policy/default-sender.ts';
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

/** Options of the proxy, all of which are also variables. */
export const proxyOptions = {
  listen: {
    value: 'HOST:PORT|unix:PATH',
    parse: parseListen,
    otherwise: 'the sockets of systemd, or else 127.0.0.1:8025',
    describe: 'Where to listen',
  },
  ...backendOptions,
  ledger: {
    value: 'FILE',
    parse: anyText,
    default: './ledger.db',
    describe: 'File that remembers what was sent',
  },
  dir: {
    value: 'DIR',
    parse: anyText,
    default: './delivered',
    describe: 'Folder of the file backend',
  },
  'keys-file': {
    value: 'FILE',
    parse: anyText,
    otherwise: 'GMAIL_SECRET_KEYS or GMAIL_SECRET_KEY',
    describe: 'File of keys, one on each line',
  },
  'max-recipients': {
    value: 'NUMBER',
    parse: wholeNumber(1),
    default: String(limits.postRecipients),
    describe: 'How many recipients are taken in one post',
  },
  'allow-sender': {
    value: 'ADDRESS|@DOMAIN',
    parse: parseAllowedSenders,
    several: true,
    otherwise: 'any sender',
    describe:
      'Allow this address or @domain as sender (repeatable); mail with the null sender needs such an author, or has to be a report',
  },
  'default-sender': {
    value: 'ADDRESS',
    parse: parseDefaultSender,
    setting: 'GMAIL_DEFAULT_SENDER',
    describe: 'Address, perhaps with a name, that replaces a sender that is not allowed',
  },
  'fix-sender': {
    flag: true,
    describe: 'Replace senders that are not allowed by the default sender',
  },
  rate: {
    value: 'NUMBER/min',
    parse: parseRate,
    otherwise: 'no limit',
    describe: 'Posts that each key may make, such as 60/min',
  },
  'soft-bounce': {
    flag: true,
    describe: 'Defer what would be refused (5.x.x becomes 4.x.x), while the proxy is being set up',
  },
} as const satisfies OptionTable;

export type ProxyOptions = Values<typeof proxyOptions>;

/** `appengine-mailer proxy`: takes signed messages over HTTP and sends them on. */
export const proxyCommand = command({
  name: 'proxy',
  describe: 'Take signed messages over HTTP and send them on',
  isService: true,
  settings: proxyOptions,
  run: async ({ ledger: ledgerPath, dir, ...argv }, origins) => {
    // For the journal: it may be read where the working directory is not known.
    const ledgerFile = resolve(ledgerPath);
    await becomeOwnerWithSecrets(ledgerFile, () => {
      if (argv.keysFile === undefined) new ProxyJournal().keysTrouble(READ_ONCE);
    });
    const keys = new Keyring(() => readKeys(argv.keysFile));
    const rules = senderRules(argv, origins);
    const places = placesOf(argv.listen);
    const journal = new ProxyJournal();
    const chosen = await chooseBackend(argv, origins, resolve(dir));
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
      return { keys, rate: argv.rate, fixSender: rules.fix, note, deliverer, ledger };
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
    journal.proxyStarted(address, about, ledger, keys.size, argv.softBounce);
    if (ledger.unknown.listed > 0) journal.unknownListed(ledgerFile, ledger.unknown);
    const held = unwanted(places, proxy.addresses);
    if (held.length > 0) journal.listensElsewhere(held);
    for (const fault of keys.faults) journal.keysUnsafe(fault);
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
    journal.proxyStopped(address);
    const fault = await watched;
    if (fault)
      throw new CommandError(exitCodes.spool, `the ledger cannot be used: ${fault.message}`);
  },
});

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
export function senderRules(
  {
    allowSender: allowed,
    defaultSender: given,
    fixSender: fix,
  }: Pick<ProxyOptions, 'allowSender' | 'defaultSender' | 'fixSender'>,
  origins: Origins,
): SenderRules {
  const defaultSender = origins.has('default-sender') ? given : settingOfDefaultSender();
  if (fix && !defaultSender) {
    throw new CommandError(
      exitCodes.configuration,
      '--fix-sender needs --default-sender or GMAIL_DEFAULT_SENDER',
    );
  }
  return { allowed, defaultSender, fix };
}

function settingOfDefaultSender(): DefaultSender | undefined {
  const name = 'GMAIL_DEFAULT_SENDER';
  const setting = readSetting(name, { environment: process.env, folder: '.' });
  return setting && parseSetting(name, firstLine(setting).toString(), parseDefaultSender);
}

/** What systemd holds open is listened on in any case: what came there while no proxy ran waits for an answer. */
function placesOf(listen: Places['wanted']): Places {
  const handedOver = systemdSockets();
  const usual = handedOver.length > 0 ? undefined : { host: '127.0.0.1', port: 8025 };
  return { wanted: listen ?? usual, handedOver };
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
