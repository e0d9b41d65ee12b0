import { exitCodes, CommandError } from '../../host/command-error.ts';
import { hostPortText } from '../../host/net/host-port.ts';
import type { OptionTable, Origins, Values } from '../../host/options.ts';
import type { Backend } from './backend.ts';
import type { DefaultSender } from '../policy/default-sender.ts';
import type { ApiHost } from './appengine/call-api.ts';
import { discardBackend } from './discard.ts';
import { fileBackend } from './file.ts';
import { jmapAccount, jmapOptions, type JmapAccount } from './jmap/jmap-options.ts';
import { mailgunAccount, mailgunOptions, type MailgunAccount } from './mailgun/mailgun-options.ts';
import { sesAccount, sesOptions, type SesAccount } from './ses/ses-options.ts';
import { workingFolder } from '../../host/settings.ts';
import { ehloName } from './smtp/ehlo-name.ts';
import { smtpOptions, smtpRelay } from './smtp/smtp-options.ts';
import type { SmtpRelay } from './smtp/smtp-sessions.ts';
import { smtpBackend } from './smtp/smtp-backend.ts';
import type { ProxyJournal } from '../proxy-journal.ts';

/** Options that say where mail is delivered, but for the folder of the file backend, which is given as an absolute path. */
export const backendOptions = {
  backend: {
    choices: ['file', 'smtp', 'ses', 'mailgun', 'jmap', 'appengine', 'discard'],
    default: 'file',
    describe:
      'Where to deliver mail: into a folder, to a relay, by the API of Amazon SES, Mailgun, a JMAP server or App Engine, or nowhere',
  },
  ...smtpOptions,
  ...sesOptions,
  ...mailgunOptions,
  ...jmapOptions,
} as const satisfies OptionTable;

/** The options that mean something to one backend only. */
const OWN_OPTIONS = {
  smtp: smtpOptions,
  ses: sesOptions,
  mailgun: mailgunOptions,
  jmap: jmapOptions,
} as const satisfies Record<string, OptionTable>;

/** The chosen backend with its configuration; nothing is opened yet. */
export type ChosenBackend =
  | { kind: 'file'; folder: string }
  | { kind: 'smtp'; relay: SmtpRelay }
  | { kind: 'ses'; account: SesAccount }
  | { kind: 'mailgun'; account: MailgunAccount }
  | { kind: 'jmap'; account: JmapAccount }
  | { kind: 'appengine'; api: ApiHost }
  | { kind: 'discard' };

/**
 * Reads what options and settings say of the backend. Throws CommandError 78 when that is not enough, and 64 or 78 for
 * an option of another backend.
 */
export async function chooseBackend(
  argv: Values<typeof backendOptions>,
  origins: Origins,
  folder: string,
): Promise<ChosenBackend> {
  const { backend: kind } = argv;
  for (const [backend, options] of Object.entries(OWN_OPTIONS)) {
    const stray = Object.keys(options).find((name) => kind !== backend && origins.has(name));
    if (stray !== undefined) throw origins.error(stray, `is for --backend ${backend}`);
  }
  const sources = { environment: process.env, folder: workingFolder() };
  if (kind === 'smtp') return { kind, relay: smtpRelay(argv, sources) };
  if (kind === 'ses') return { kind, account: sesAccount(argv, sources) };
  if (kind === 'mailgun') return { kind, account: mailgunAccount(argv, sources) };
  if (kind === 'jmap') return { kind, account: jmapAccount(argv, sources) };
  if (kind === 'file') return { kind, folder };
  if (kind === 'discard') return { kind };
  // Loaded only where it is used: it takes time.
  const { apiHost } = await import('./appengine/appengine-backend.ts');
  return { kind, api: apiHost(process.env) };
}

/** Makes the backend ready for mail. Throws CommandError 78 when that fails. */
export async function openBackend(
  chosen: ChosenBackend,
  journal: ProxyJournal,
  defaultSender?: DefaultSender,
): Promise<Backend> {
  if (chosen.kind === 'smtp') {
    const { relay } = chosen;
    const { name, fault } = await ehloName(relay.name);
    if (fault) journal.nameless(fault.text, fault.todo);
    return smtpBackend({ ...relay, name });
  }
  if (chosen.kind === 'discard') return discardBackend;
  if (chosen.kind === 'ses') {
    const { sesBackend } = await import('./ses/ses-backend.ts');
    return sesBackend(chosen.account, { defaultSender: defaultSender?.address });
  }
  if (chosen.kind === 'mailgun') {
    const { mailgunBackend } = await import('./mailgun/mailgun-backend.ts');
    return mailgunBackend(chosen.account);
  }
  if (chosen.kind === 'jmap') {
    const { jmapBackend } = await import('./jmap/jmap-backend.ts');
    return jmapBackend(chosen.account, { defaultSender: defaultSender?.address });
  }
  if (chosen.kind === 'appengine') {
    const { appengineBackend } = await import('./appengine/appengine-backend.ts');
    return appengineBackend(chosen.api, journal);
  }
  const { folder } = chosen;
  return fileBackend(folder).catch((error: Error) => {
    throw new CommandError(
      exitCodes.configuration,
      `cannot deliver into ${folder}: ${error.message}`,
    );
  });
}

/** The backend and the place where mail goes, for people. */
export function backendText(chosen: ChosenBackend): string {
  const kept = keptText(chosen);
  if (kept !== undefined) return `backend ${chosen.kind} (${kept})`;
  if (chosen.kind === 'smtp') return `backend smtp, relay ${hostPortText(chosen.relay)}`;
  if (chosen.kind === 'ses') return `backend ses, region ${chosen.account.region}`;
  if (chosen.kind === 'mailgun') return `backend mailgun, domain ${chosen.account.domain}`;
  if (chosen.kind === 'jmap') return `backend jmap, server ${chosen.account.url.host}`;
  return `backend ${chosen.kind}`;
}

/** Says that no mail leaves this machine, and what happens to it; undefined where mail is sent on. */
export function keptText(chosen: ChosenBackend): string | undefined {
  if (chosen.kind === 'file') {
    return `nothing leaves this machine: all mail is kept in ${chosen.folder}`;
  }
  return chosen.kind === 'discard'
    ? 'nothing leaves this machine: all mail is thrown away'
    : undefined;
}
