import { isLoopback } from '../../../host/net/is-loopback.ts';
import { isIPv6 } from 'node:net';
import { rootCertificates } from 'node:tls';
import { exitCodes, CommandError } from '../../../host/command-error.ts';
import { anyText, parseBoolean, takes, wholeNumber } from '../../../host/option-values.ts';
import type { OptionTable, Values } from '../../../host/options.ts';
import { readCertificates } from '../../../host/net/read-certificates.ts';
import { firstLine, readSetting, type Sources } from '../../../host/settings.ts';
import { limits } from '../../../limits.ts';
import { parseOAuthCredentials } from './oauth-credentials.ts';
import type { SmtpAccount } from './smtp-login.ts';
import type { SmtpRelay } from './smtp-sessions.ts';

/** Options of the smtp backend. Where one is not given, Google's variable for it counts (APPENGINE_SMTP_…). */
export const smtpOptions = {
  'smtp-host': {
    value: 'HOST',
    parse: relayHost,
    also: { variable: 'APPENGINE_SMTP_HOST' },
    describe: 'Relay of the smtp backend',
  },
  'smtp-port': {
    value: 'PORT',
    parse: wholeNumber(1, 65_535),
    also: { variable: 'APPENGINE_SMTP_PORT' },
    otherwise: '587; 465 with --smtp-security tls',
    describe: 'Port of the relay',
  },
  'smtp-security': {
    choices: ['starttls', 'tls', 'none'],
    default: 'starttls',
    also: {
      variable: 'APPENGINE_SMTP_USE_TLS',
      parse: (text) => (parseBoolean(text) ? 'starttls' : 'none'),
    },
    describe: 'TLS to the relay, whose certificate is verified (starttls or tls), or no TLS',
  },
  'smtp-user': {
    value: 'USER',
    parse: anyText,
    also: { variable: 'APPENGINE_SMTP_USER' },
    describe:
      'User name at the relay; the password is APPENGINE_SMTP_PASSWORD, or APPENGINE_SMTP_OAUTH has credentials of OAuth 2.0',
  },
  'smtp-connections': {
    value: 'NUMBER',
    parse: wholeNumber(1),
    default: String(limits.smtpConnections),
    describe: 'How many connections to the relay are open at once',
  },
  'smtp-ca-file': {
    value: 'FILE',
    parse: anyText,
    describe: 'PEM file of further certificate authorities to trust for the relay',
  },
  'smtp-name': {
    value: 'NAME',
    parse: anyText,
    otherwise: 'the full name of the machine',
    describe: 'Name of this machine for the relay (EHLO)',
  },
} as const satisfies OptionTable;

/** The relay that options and settings describe. Throws CommandError 78 when they do not describe one. */
export function smtpRelay(options: Values<typeof smtpOptions>, sources: Sources): SmtpRelay {
  const { smtpHost: host, smtpSecurity: security, smtpCaFile: caFile } = options;
  if (!host) {
    throw misconfigured('the smtp backend needs a relay: --smtp-host, or APPENGINE_SMTP_HOST');
  }
  const auth = smtpAccount(options.smtpUser, sources);
  if (auth && security === 'none' && !isLoopback(host)) {
    throw misconfigured(`--smtp-security none would carry the password to ${host} unencrypted`);
  }
  return {
    host,
    port: options.smtpPort ?? (security === 'tls' ? 465 : 587),
    security,
    ca: caFile === undefined ? undefined : [...rootCertificates, readCertificates(caFile)],
    name: options.smtpName,
    auth,
    connectionsMax: options.smtpConnections,
  };
}

/** A name or an address; no URL, and no port. Throws ValueError. */
function relayHost(text: string): string {
  if (text === '' || isIPv6(text) || HOST.test(text)) return text;
  throw takes('a name or an IP address', text);
}

const HOST = /^[\p{L}\p{N}._-]+$/u;

/** With APPENGINE_SMTP_PASSWORD, or with the OAuth 2.0 credentials of APPENGINE_SMTP_OAUTH. */
function smtpAccount(user: string | undefined, sources: Sources): SmtpAccount | undefined {
  const password = readSetting('APPENGINE_SMTP_PASSWORD', sources);
  const oauth = readSetting('APPENGINE_SMTP_OAUTH', sources);
  if (!user) {
    if (!password && !oauth) return undefined;
    throw misconfigured('there is a password for the relay, and no --smtp-user');
  }
  if (password && oauth) {
    throw misconfigured('there are APPENGINE_SMTP_PASSWORD and APPENGINE_SMTP_OAUTH: remove one');
  }
  if (oauth) return { user, oauth: parseOAuthCredentials(oauth) };
  const pass = password && firstLine(password).toString();
  if (pass) return { user, pass };
  throw misconfigured(
    `there is no password for --smtp-user ${user}: put it into APPENGINE_SMTP_PASSWORD`,
  );
}

function misconfigured(sentence: string): CommandError {
  return new CommandError(exitCodes.configuration, sentence);
}
