import type { ArgumentsCamelCase, InferredOptionTypes, Options } from 'yargs';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import type { Backend } from './backend.ts';
import type { ApiHost } from './appengine/call-api.ts';
import { discardBackend } from './discard.ts';
import { fileBackend } from './file.ts';
import { ehloName } from './smtp/ehlo-name.ts';
import { smtpOptions, smtpRelay } from './smtp/smtp-options.ts';
import type { SmtpRelay } from './smtp/smtp-sessions.ts';
import { smtpBackend } from './smtp/smtp-backend.ts';
import type { ProxyJournal } from '../proxy-journal.ts';

/** Options that say where mail is delivered, but for the folder of the file backend, which is given as an absolute path. */
export const backendOptions = {
  backend: {
    choices: ['file', 'smtp', 'appengine', 'discard'] as const,
    default: 'file' as const,
    describe: 'What becomes of the mail',
  },
  ...smtpOptions,
} as const satisfies Record<string, Options>;

type Arguments = ArgumentsCamelCase<InferredOptionTypes<typeof backendOptions>>;

/** The chosen backend with its configuration; nothing is opened yet. */
export type ChosenBackend =
  | { kind: 'file'; folder: string }
  | { kind: 'smtp'; relay: SmtpRelay }
  | { kind: 'appengine'; api: ApiHost }
  | { kind: 'discard' };

/** Reads the options and settings of the backend. Throws CommandError 78 when one is missing, wrong, or of another backend. */
export async function chooseBackend(argv: Arguments, folder: string): Promise<ChosenBackend> {
  const { backend: kind } = argv;
  if (kind === 'smtp') {
    return { kind, relay: smtpRelay(argv, { environment: process.env, folder: '.' }) };
  }
  const stray = smtpOptionNames.find((name) => argv[name] !== undefined);
  if (stray !== undefined) {
    throw new CommandError(exitCodes.configuration, `--${stray} is for --backend smtp`);
  }
  if (kind === 'file') return { kind, folder };
  if (kind === 'discard') return { kind };
  // Loaded only where it is used: it takes time.
  const { apiHost } = await import('./appengine/appengine-backend.ts');
  return { kind, api: apiHost(process.env) };
}

/** Makes the backend ready for mail. Throws CommandError 78 when that fails. */
export async function openBackend(chosen: ChosenBackend, journal: ProxyJournal): Promise<Backend> {
  if (chosen.kind === 'smtp') {
    const { relay } = chosen;
    const { name, fault } = await ehloName(relay.name);
    if (fault) journal.nameless(fault.text, fault.todo);
    return smtpBackend({ ...relay, name });
  }
  if (chosen.kind === 'discard') return discardBackend;
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
  if (chosen.kind === 'smtp') return `backend smtp, relay ${relayText(chosen.relay)}`;
  return `backend ${chosen.kind}`;
}

/** HOST:PORT of a relay. */
export function relayText({ host, port }: SmtpRelay): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
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

const smtpOptionNames = Object.keys(smtpOptions) as (keyof typeof smtpOptions)[];
