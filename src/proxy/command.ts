import { dirname, resolve } from 'node:path';
import type { ArgumentsCamelCase, CommandModule, InferredOptionTypes, Options } from 'yargs';
import { becomeOwner } from '../host/become-owner.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { ProxyJournal } from './proxy-journal.ts';
import { SdNotify } from '../host/systemd/sd-notify.ts';
import { firstLine, readSetting, withSettings, type SettingName } from '../host/settings.ts';
import { stopSignal } from '../host/stop-signal.ts';
import { systemdSockets } from '../host/systemd/systemd-sockets.ts';
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
import { LedgerLock, openLedger } from './ledger/open-ledger.ts';
import { tendLedger, watchLedgerLog } from './ledger/tend-ledger.ts';
import { Keyring, readKeys } from './policy/keyring.ts';
import type { Ledger } from './ledger/ledger.ts';
import { parseListen, unwanted, type Places } from './http/listen.ts';
import { HttpServer } from './http/http-server.ts';
import { parseRate, type RateLimit } from './policy/rate-limit.ts';
import { reportWork } from './report-work.ts';
import { senderPolicy, type SenderRules } from './policy/sender-policy.ts';
import { sendersText } from './policy/senders-text.ts';
import { watchKeys } from './policy/watch-keys.ts';

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
    // Absolute for the journal, which may be read where the working directory is not known.
    const ledgerFile = resolve(ledgerPath);
    await becomeOwnerWithSecrets(ledgerFile, () => {
      if (argv.keysFile === undefined) new ProxyJournal().keysTrouble(READ_ONCE);
    });
    const settings = readSettings(argv);
    const { keys, rules, rate, places, softBounce, recipientsMax } = settings;
    const journal = new ProxyJournal();
    const chosen = await chooseBackend(argv, resolve(dir));
    const policy = senderPolicy(rules, journal);
    const lock = new LedgerLock(ledgerFile);
    const open = async () => {
      const backend = await openBackend(chosen, journal);
      lock.take();
      const ledger = await openLedger(ledgerFile, journal);
      const options = { ledger, backend, policy, journal, recipientsMax, softBounce };
      const deliverer = new Deliverer(options);
      const { withinRequest } = backend;
      const note = keptText(chosen);
      return { keys, rate, fixSender: rules.fix, note, deliverer, ledger, withinRequest };
    };
    const server = new HttpServer(journal);
    const { ledger, deliverer } = await server.start(places, open).catch((error: Error) => {
      lock.release();
      throw error;
    });

    const about = `${backendText(chosen)}, ${sendersText(rules, keys.keys)}`;
    const fault = await work({ server, ledger, deliverer, journal, settings, about });
    ledger.close();
    lock.release();
    journal.proxyStopped(addressOf(server));
    if (!fault) return;
    throw new CommandError(exitCodes.spool, `the ledger cannot be used: ${fault.message}`);
  },
};

/** What options and settings say, but for ledger and backend. */
interface ProxySettings {
  keys: Keyring;
  rules: SenderRules;
  rate: RateLimit | undefined;
  places: Places;
  recipientsMax: number;
  softBounce: boolean;
}

/** Throws CommandError 78. */
function readSettings(argv: Arguments): ProxySettings {
  const keys = new Keyring(() => readKeys(argv.keysFile));
  const rules = senderRules(argv);
  const rate = argv.rate === undefined ? undefined : parseRate(argv.rate);
  const places = placesOf(argv.listen);
  const { maxRecipients: recipientsMax, softBounce } = argv;
  if (!Number.isSafeInteger(recipientsMax) || recipientsMax < 1) {
    throw new CommandError(
      exitCodes.configuration,
      '--max-recipients takes a whole number above 0',
    );
  }
  return { keys, rules, rate, places, recipientsMax, softBounce };
}

/** A proxy that takes posts. */
interface WorkingProxy {
  server: HttpServer;
  ledger: Ledger;
  deliverer: Deliverer;
  journal: ProxyJournal;
  settings: ProxySettings;
  /** The backend and the allowed senders, for people. */
  about: string;
}

/** Works until this program is stopped or the files of the ledger are replaced: then it returns what is wrong. */
async function work(proxy: WorkingProxy): Promise<Error | undefined> {
  const { server, ledger, deliverer, journal, settings, about } = proxy;
  const stopping = new AbortController();
  const stop = AbortSignal.any([stopSignal(), stopping.signal]);
  watchKeys(settings.keys, journal, stop);
  tellStart(proxy);
  const unwatchLog = watchLedgerLog(ledger, journal);
  void reportWork(`${addressOf(server)}; ${about}`, deliverer, new SdNotify(), stop);
  const fault = await tendLedger(ledger, journal, stop);
  stopping.abort();
  await server.stop();
  unwatchLog();
  return fault;
}

function addressOf({ addresses }: HttpServer): string {
  return addresses.join(' and ');
}

/** Tells the journal that the proxy is at work, and what an administrator has to know about it. */
function tellStart({ server, ledger, journal, settings, about }: WorkingProxy): void {
  const { keys, places, softBounce } = settings;
  journal.proxyStarted(addressOf(server), about, ledger, keys.size, softBounce);
  if (ledger.unknown.listed > 0) journal.unknownListed(ledger.file, ledger.unknown);
  const held = unwanted(places, server.addresses);
  if (held.length > 0) journal.listensElsewhere(held);
  for (const fault of keys.faults) journal.keysUnsafe(fault);
}

/**
 * Gives up root for the owner of the file's folder, with the secrets, which only root may read. `before` is called while
 * it is still root. Throws CommandError 78.
 */
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

/** The senders that options and settings allow. Throws CommandError 78. */
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

/** Sockets that systemd hands over are always used: clients that came while no proxy ran wait there for an answer. */
function placesOf(text: string | undefined): Places {
  const handedOver = systemdSockets();
  const address = text ?? (handedOver.length > 0 ? undefined : '127.0.0.1:8025');
  return { wanted: address === undefined ? undefined : parseListen(address), handedOver };
}
