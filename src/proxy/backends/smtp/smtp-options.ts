import { isIPv6 } from 'node:net';
import { rootCertificates } from 'node:tls';
import type { SMTPConnectionAuth } from 'nodemailer/lib/smtp-connection';
import type { ArgumentsCamelCase, InferredOptionTypes, Options } from 'yargs';
import { exitCodes, CommandError } from '../../../host/command-error.ts';
import { parseBoolean } from '../../../host/parse-boolean.ts';
import { readCertificates } from '../../../host/net/read-certificates.ts';
import { firstLine, readSetting, type Sources } from '../../../host/settings.ts';
import { limits } from '../../../limits.ts';
import { OAuthTokens } from './oauth-tokens.ts';
import type { SmtpRelay } from './smtp-sessions.ts';

/** Options of the smtp backend. Without one, Google's own name for it counts (APPENGINE_SMTP_…). */
export const smtpOptions = {
  'smtp-host': {
    type: 'string',
    describe: 'Relay of the smtp backend',
    requiresArg: true,
  },
  'smtp-port': {
    type: 'number',
    describe: 'Its port (587; 465 with --smtp-security tls)',
    requiresArg: true,
  },
  'smtp-security': {
    choices: ['starttls', 'tls', 'none'] as const,
    describe: 'Required and verified (starttls), or none',
    requiresArg: true,
  },
  'smtp-user': {
    type: 'string',
    describe: 'Who we are there; the password is APPENGINE_SMTP_PASSWORD',
    requiresArg: true,
  },
  'smtp-connections': {
    type: 'number',
    describe: `Connections to the relay at once (${limits.smtpConnections})`,
    requiresArg: true,
  },
  'smtp-ca-file': {
    type: 'string',
    describe: 'Certificate authorities (PEM) to trust besides the usual ones',
    requiresArg: true,
  },
  'smtp-name': {
    type: 'string',
    describe: "What to call ourselves (EHLO); else the machine's full name",
    requiresArg: true,
  },
} as const satisfies Record<string, Options>;

type Arguments = ArgumentsCamelCase<InferredOptionTypes<typeof smtpOptions>>;

/** The relay that options and settings describe. Throws Failure 78 when they do not describe one. */
export function smtpRelay(argv: Partial<Arguments>, sources: Sources): SmtpRelay {
  const google = (name: string) => sources.environment[`APPENGINE_SMTP_${name}`] || undefined;
  const host = argv.smtpHost ?? google('HOST');
  if (!host) {
    throw misconfigured('the smtp backend needs a relay: --smtp-host, or APPENGINE_SMTP_HOST');
  }
  if (!isIPv6(host) && !HOST.test(host)) {
    throw misconfigured(`--smtp-host takes a name or an IP address and got ${host}`);
  }
  const withTls = parseBoolean(google('USE_TLS') ?? 'yes');
  if (withTls === undefined) throw misconfigured('APPENGINE_SMTP_USE_TLS is neither yes nor no');
  const security = argv.smtpSecurity ?? (withTls ? 'starttls' : 'none');
  if (!smtpOptions['smtp-security'].choices.includes(security)) {
    throw misconfigured(
      `--smtp-security takes starttls, tls or none and got ${security as string}`,
    );
  }
  const port = argv.smtpPort ?? Number(google('PORT') ?? (security === 'tls' ? 465 : 587));
  if (!Number.isSafeInteger(port) || port < 1 || port > 65_535) {
    throw misconfigured('--smtp-port takes a number from 1 to 65535');
  }
  const auth = smtpAuth(argv.smtpUser ?? google('USER'), sources);
  if (auth && security === 'none' && !LOOPBACK.test(host)) {
    throw misconfigured(`--smtp-security none would carry the password to ${host} unencrypted`);
  }
  const { smtpCaFile } = argv;
  const ca =
    smtpCaFile === undefined ? undefined : [...rootCertificates, readCertificates(smtpCaFile)];
  const { smtpConnections: connectionsMax = limits.smtpConnections } = argv;
  if (!Number.isSafeInteger(connectionsMax) || connectionsMax < 1) {
    throw misconfigured('--smtp-connections takes a whole number above 0');
  }
  return { host, port, security, ca, name: argv.smtpName, auth, connectionsMax };
}

/** No scheme, and no port. */
const HOST = /^[\p{L}\p{N}._-]+$/u;
const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|::1)$/;

/** How to log in: by APPENGINE_SMTP_PASSWORD, or by the OAuth 2 credentials of APPENGINE_SMTP_OAUTH. */
function smtpAuth(user: string | undefined, sources: Sources): SMTPConnectionAuth | undefined {
  const password = readSetting('APPENGINE_SMTP_PASSWORD', sources);
  const oauth = readSetting('APPENGINE_SMTP_OAUTH', sources);
  if (!user) {
    if (!password && !oauth) return undefined;
    throw misconfigured('there is a password for the relay, and no --smtp-user');
  }
  if (password && oauth) {
    throw misconfigured('there are APPENGINE_SMTP_PASSWORD and APPENGINE_SMTP_OAUTH: remove one');
  }
  if (oauth) return { user, method: 'XOAUTH2', oauth2: tokens(user, oauth) };
  const pass = password && firstLine(password).toString();
  if (pass) return { user, pass };
  throw misconfigured(
    `there is no password for --smtp-user ${user}: put it into APPENGINE_SMTP_PASSWORD`,
  );
}

/**
 * A source of access tokens, shared by all connections. The credentials are the JSON that Google's tools
 * write: client_id, client_secret, refresh_token, and token_uri where it is not Google's.
 */
function tokens(user: string, credentials: Buffer): OAuthTokens {
  const json = parseObject(credentials.toString());
  const text = (name: string) => {
    const value = json?.[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const [clientId, clientSecret] = [text('client_id'), text('client_secret')];
  const refreshToken = text('refresh_token');
  if (!clientId || !clientSecret || !refreshToken) {
    throw misconfigured(
      'APPENGINE_SMTP_OAUTH is not JSON with client_id, client_secret and refresh_token',
    );
  }
  const accessUrl = text('token_uri');
  return new OAuthTokens({
    user,
    clientId,
    clientSecret,
    refreshToken,
    ...(accessUrl && { accessUrl }),
  });
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return undefined; // The parser's own words would quote the secret.
  }
}

function misconfigured(sentence: string): CommandError {
  return new CommandError(exitCodes.configuration, sentence);
}
