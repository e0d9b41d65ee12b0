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

/** Options of the smtp backend. Where one is not given, Google's variable for it counts (APPENGINE_SMTP_…). */
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

/** The relay that options and settings describe. Throws CommandError 78 when they do not describe one. */
export function smtpRelay(argv: Partial<Arguments>, sources: Sources): SmtpRelay {
  const read = <T>({ option, variable, parse }: Setting<T>): T => {
    const google = (variable && sources.environment[variable]) || undefined;
    return parse((option && (argv[option] as Given)) ?? google);
  };
  const host = read(settings.host);
  const otherwise = read(settings.useTls) ? 'starttls' : 'none';
  const security = read(settings.security) ?? otherwise;
  const port = read(settings.port) ?? (security === 'tls' ? 465 : 587);
  const auth = smtpAuth(read(settings.user), sources);
  if (auth && security === 'none' && !LOOPBACK.test(host)) {
    throw misconfigured(`--smtp-security none would carry the password to ${host} unencrypted`);
  }
  const ca = read(settings.ca);
  const connectionsMax = read(settings.connectionsMax);
  return { host, port, security, ca, name: read(settings.name), auth, connectionsMax };
}

type Given = string | number | undefined;

/** Reads an option or, where it is not given, Google's variable. `parse` throws CommandError 78. */
interface Setting<T> {
  option?: `smtp${string}`;
  variable?: string;
  parse: (given: Given) => T;
}

const settings = {
  host: { option: 'smtpHost', variable: 'APPENGINE_SMTP_HOST', parse: parseHost },
  useTls: { variable: 'APPENGINE_SMTP_USE_TLS', parse: parseUseTls },
  security: { option: 'smtpSecurity', parse: parseSecurity },
  port: { option: 'smtpPort', variable: 'APPENGINE_SMTP_PORT', parse: parsePort },
  user: { option: 'smtpUser', variable: 'APPENGINE_SMTP_USER', parse: text },
  ca: { option: 'smtpCaFile', parse: readAuthorities },
  connectionsMax: { option: 'smtpConnections', parse: parseConnections },
  name: { option: 'smtpName', parse: text },
} as const satisfies Record<string, Setting<unknown>>;

function parseHost(given: Given): string {
  if (!given) {
    throw misconfigured('the smtp backend needs a relay: --smtp-host, or APPENGINE_SMTP_HOST');
  }
  const host = String(given);
  if (isIPv6(host) || HOST.test(host)) return host;
  throw misconfigured(`--smtp-host takes a name or an IP address and got ${host}`);
}

function parseUseTls(given: Given): boolean {
  const withTls = parseBoolean(String(given ?? 'yes'));
  if (withTls !== undefined) return withTls;
  throw misconfigured('APPENGINE_SMTP_USE_TLS is neither yes nor no');
}

function parseSecurity(given: Given): SmtpRelay['security'] | undefined {
  const found = smtpOptions['smtp-security'].choices.find((choice) => choice === given);
  if (found ?? given === undefined) return found;
  throw misconfigured(`--smtp-security takes starttls, tls or none and got ${given}`);
}

function parsePort(given: Given): number | undefined {
  if (given === undefined) return undefined;
  const port = Number(given);
  if (Number.isSafeInteger(port) && port >= 1 && port <= 65_535) return port;
  throw misconfigured('--smtp-port takes a number from 1 to 65535');
}

function parseConnections(given: Given = limits.smtpConnections): number {
  const connections = Number(given);
  if (Number.isSafeInteger(connections) && connections >= 1) return connections;
  throw misconfigured('--smtp-connections takes a whole number above 0');
}

function readAuthorities(given: Given): string[] | undefined {
  return given === undefined ? undefined : [...rootCertificates, readCertificates(String(given))];
}

function text(given: Given): string | undefined {
  return given === undefined ? undefined : String(given);
}

/** A name without scheme and port. */
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
  if (oauth) return { user, method: 'XOAUTH2', oauth2: oauthTokens(user, oauth) };
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
function oauthTokens(user: string, credentials: Buffer): OAuthTokens {
  const json = parseObject(credentials.toString());
  const field = (name: string) => {
    const value = json?.[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const [clientId, clientSecret] = [field('client_id'), field('client_secret')];
  const refreshToken = field('refresh_token');
  if (!clientId || !clientSecret || !refreshToken) {
    throw misconfigured(
      'APPENGINE_SMTP_OAUTH is not JSON with client_id, client_secret and refresh_token',
    );
  }
  const accessUrl = field('token_uri');
  return new OAuthTokens({
    user,
    clientId,
    clientSecret,
    refreshToken,
    ...(accessUrl && { accessUrl }),
  });
}

function parseObject(json: string): Record<string, unknown> | undefined {
  try {
    return Object(JSON.parse(json)) as Record<string, unknown>;
  } catch {
    return undefined; // The message of the parser would quote the secret.
  }
}

function misconfigured(sentence: string): CommandError {
  return new CommandError(exitCodes.configuration, sentence);
}
