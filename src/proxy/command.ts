import { hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import { durationFrom, durationText } from '../host/duration.ts';
import { command } from '../host/command.ts';
import { becomeOwner } from '../host/become-owner.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { secretFaults } from '../host/key-faults.ts';
import type { HostPort } from '../host/net/connect-socket.ts';
import { anyText, wholeNumber } from '../host/option-values.ts';
import { parseSetting, type OptionTable, type Origins, type Values } from '../host/options.ts';
import { proxyJournal, type ProxyJournal } from './proxy-journal.ts';
import { SdNotify } from '../host/systemd/sd-notify.ts';
import {
  firstLine,
  readSetting,
  withSettings,
  workingFolder,
  type SettingName,
} from '../host/settings.ts';
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
import { parseDefaultSender, type DefaultSender } from './policy/default-sender.ts';
import { Deliverer } from './deliverer.ts';
import { ledgerPlace, type LedgerPlace } from './ledger/ledger-place.ts';
import { lockOf, openLedger } from './ledger/open-ledger.ts';
import { ledgerText } from './ledger/postgres/postgres-url.ts';
import { unusableLedger } from './ledger/sqlite/open-sqlite-ledger.ts';
import { Keyring, readKeys } from './policy/keyring.ts';
import type { Ledger } from './ledger/ledger.ts';
import { dayQuota, parsePace, type Quota } from './pace/quota.ts';
import { parseListen, unwanted, type ListenAt } from '../host/net/listen.ts';
import { HttpServer } from './http/http-server.ts';
import { parseRate, type RateLimit } from './policy/rate-limit.ts';
import { metricsOption } from '../watch/metrics-option.ts';
import { reportWork } from './report-work.ts';
import { senderPolicy, type SenderRules } from './policy/sender-policy.ts';
import { sendersText } from './policy/senders-text.ts';
import { watchKeys } from './policy/watch-keys.ts';

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
    value: 'FILE|postgres:[//HOST/DATABASE]',
    parse: ledgerText,
    default: './ledger.db',
    describe:
      'File that remembers what was sent, or the PostgreSQL database that several proxies share',
  },
  'take-over': {
    value: 'DURATION',
    parse: durationFrom(limits.takeOverMinMs),
    default: durationText(limits.takeOverMs),
    describe:
      'How long a proxy may be dead, suspended or cut off from a shared ledger before others count as unknown what it was sending',
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
    describe: 'Posts that each key may make, such as 60/min; keys of the same name count together',
  },
  pace: {
    value: 'NUMBER/s|min|h',
    parse: parsePace,
    otherwise: 'no limit',
    describe:
      'Recipients that the backend is given in a second, a minute or an hour, such as 14/s; all proxies of a ledger count together',
  },
  'pace-day': {
    value: 'NUMBER',
    parse: wholeNumber(1),
    otherwise: 'no limit',
    describe: 'The same in 24 hours, whenever these begin',
  },
  metrics: metricsOption,
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
  run: async ({ ledger: ledgerName, dir, takeOver: takeOverMs, ...argv }, origins) => {
    const place = ledgerPlace(ledgerName);
    await becomeOwnerWithSecrets(place, () => {
      if (argv.keysFile === undefined) proxyJournal().keysTrouble(READ_ONCE);
    });
    const settings = readSettings(argv, origins);
    const { keys, rules, rate, quotas, listenAt, softBounce, recipientsMax } = settings;
    const journal = proxyJournal();
    const chosen = await chooseBackend(argv, origins, resolve(dir));
    const policy = senderPolicy(rules, journal);
    const lock = lockOf(place);
    const stopped = stopSignal();
    const notify = new SdNotify();
    const open = async (delay: (reason: string) => void) => {
      const backend = await openBackend(chosen, journal, rules.defaultSender);
      lock.take();
      const because = (reason: string) => {
        delay(reason);
        notify.working(() => `attention: ${reason}`);
      };
      const waiting = { because, stop: stopped };
      const ledger = await openLedger(place, { journal, takeOverMs, waiting });
      const options = { ledger, backend, policy, quotas, journal, recipientsMax, softBounce };
      const deliverer = new Deliverer({ ...options, proxy: `${hostname()} ${addressOf(server)}` });
      const { withinRequest } = backend;
      const note = keptText(chosen);
      const ledgerId = ledger.id;
      return { keys, rate, fixSender: rules.fix, note, deliverer, ledger, ledgerId, withinRequest };
    };
    const server = new HttpServer(journal);
    const { ledger, deliverer } = await server.start(listenAt, open).catch((error: Error) => {
      lock.release();
      throw error;
    });

    const about = `${backendText(chosen)}, ${sendersText(rules, keys.keys)}`;
    const fault = await work({
      server,
      ledger,
      deliverer,
      journal,
      settings,
      backend: argv.backend,
      about,
      notify,
      stopped,
    });
    await ledger.close();
    lock.release();
    journal.stopped(addressOf(server));
    if (!fault) return;
    throw new CommandError(exitCodes.spool, `the ledger cannot be used: ${fault.message}`);
  },
});

/** What options and settings say, but for ledger and backend. */
interface ProxySettings {
  keys: Keyring;
  rules: SenderRules;
  rate: RateLimit | undefined;
  quotas: readonly Quota[];
  listenAt: ListenAt;
  metricsAt: HostPort | undefined;
  recipientsMax: number;
  softBounce: boolean;
}

/** Throws CommandError 78. */
function readSettings(
  argv: Omit<ProxyOptions, 'ledger' | 'dir' | 'takeOver'>,
  origins: Origins,
): ProxySettings {
  const keys = new Keyring(() => readKeys(argv.keysFile));
  const rules = senderRules(argv, origins);
  const listenAt = whereToListen(argv.listen);
  const {
    rate,
    pace,
    paceDay,
    maxRecipients: recipientsMax,
    softBounce,
    metrics: metricsAt,
  } = argv;
  const quotas = [...(pace ? [pace] : []), ...(paceDay === undefined ? [] : [dayQuota(paceDay)])];
  return { keys, rules, rate, quotas, listenAt, metricsAt, recipientsMax, softBounce };
}

/** A proxy that takes posts. */
interface WorkingProxy {
  server: HttpServer;
  ledger: Ledger;
  deliverer: Deliverer;
  journal: ProxyJournal;
  settings: ProxySettings;
  /** The kind of the backend. */
  backend: string;
  /** The backend and the allowed senders, for people. */
  about: string;
  notify: SdNotify;
  /** Aborts when it is asked to end. */
  stopped: AbortSignal;
}

/** Works until this program is stopped or the files of the ledger are replaced: then it returns what is wrong. */
async function work(proxy: WorkingProxy): Promise<Error | undefined> {
  const { server, ledger, deliverer, journal, settings, about, notify, stopped } = proxy;
  const stopping = new AbortController();
  const stop = AbortSignal.any([stopped, stopping.signal]);
  watchKeys(settings.keys, journal, stop);
  tellStart(proxy);
  void reportWork(`${addressOf(server)}; ${about}`, deliverer, notify, stop);
  void deliverer.figures.tend(stop);
  const ends = new AbortController();
  const serving = serve(proxy, ends.signal);
  const fault = await ledger.tend(journal, stop);
  stopping.abort();
  await server.stop();
  ends.abort();
  await serving;
  await deliverer.figures.keep();
  return fault;
}

/** Serves metrics where that is asked for, until `stop` aborts. */
async function serve(proxy: WorkingProxy, stop: AbortSignal): Promise<void> {
  const { metricsAt, keys } = proxy.settings;
  if (!metricsAt) return;
  const { serveMetrics } = await import('../watch/metrics-server.ts');
  const { proxyMetrics, proxyView } = await import('./proxy-metrics.ts');
  const { proxyPage } = await import('./proxy-page.ts');
  const { deliverer, journal, backend } = proxy;
  const { figures, clock } = deliverer;
  const view = async () => proxyView({ deliverer, keys, backend });
  const metrics = async () => proxyMetrics(await view());
  const page = async () => {
    const [hour, day, week] = await Promise.all(
      (['hour', 'day', 'week'] as const).map(async (ring) => figures.samples(ring)),
    );
    const samples = { hour: hour ?? [], day: day ?? [], week: week ?? [] };
    return proxyPage(await view(), samples, { now: figures.now(), wallNow: clock.wallNow() });
  };
  await serveMetrics(metricsAt, { metrics, page }, { journal, clock }, stop);
}

function addressOf({ addresses }: HttpServer): string {
  return addresses.join(' and ');
}

/** Tells the journal that the proxy is at work, and what an administrator has to know about it. */
function tellStart({ server, ledger, journal, settings, about }: WorkingProxy): void {
  const { keys, listenAt, softBounce } = settings;
  journal.started(addressOf(server), about, { ledger, keys: keys.size, softBounce });
  if (ledger.unknown.listed > 0) journal.unknownListed(ledger.name, ledger.unknown);
  const held = unwanted(listenAt, server.addresses);
  if (held.length > 0) journal.listensElsewhere(held);
  for (const fault of [...keys.faults, ...secretFaults(BACKEND_SECRETS)]) journal.keyUnsafe(fault);
}

/**
 * Gives up root for the owner of the folder of a ledger's file, with the secrets, which only root may read; for a ledger in
 * PostgreSQL, for the owner of the working directory, where a file would be. `before` is called while it is still root.
 * Throws unusableLedger, and CommandError 78 for a setting.
 */
export async function becomeOwnerWithSecrets(
  { kind, name }: LedgerPlace,
  before = () => {},
): Promise<void> {
  const folder = kind === 'file' ? dirname(name) : '.';
  const unusable = (error: Error) => unusableLedger(kind === 'file' ? name : folder, error);
  await becomeOwner(folder, unusable, () => {
    before();
    return withSettings(SECRETS);
  });
}

const READ_ONCE =
  'root, which may read them, is given up, so that they are not read again, neither on SIGHUP nor when their file changes. ' +
  'To do: restart the proxy to change them, or use --keys-file, a file that the owner of the folder of the ledger may read';

/** The secrets of the backends. */
export const BACKEND_SECRETS: readonly SettingName[] = [
  'APPENGINE_SMTP_PASSWORD',
  'APPENGINE_SMTP_OAUTH',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'MAILGUN_API_KEY',
  'JMAP_TOKEN',
  'JMAP_PASSWORD',
];

const SECRETS: readonly SettingName[] = [
  'GMAIL_SECRET_KEYS',
  'GMAIL_SECRET_KEY',
  ...BACKEND_SECRETS,
  'PGPASSWORD',
];

/** The senders that options and settings allow. Throws CommandError 78. */
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
  const setting = readSetting(name, { environment: process.env, folder: workingFolder() });
  return setting && parseSetting(name, firstLine(setting).toString(), parseDefaultSender);
}

/** Sockets that systemd hands over are always used: clients that came while no proxy ran wait there for an answer. */
function whereToListen(listen: ListenAt['wanted']): ListenAt {
  const handedOver = systemdSockets();
  const usual = handedOver.length > 0 ? undefined : { host: '127.0.0.1', port: 8025 };
  return { wanted: listen ?? usual, handedOver };
}
