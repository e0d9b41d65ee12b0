import { ValueError } from '../../../host/option-values.ts';

/** The settings of a connection by the names that libpq has for them, such as host and sslmode. */
export type Parameters = Readonly<Record<string, string>>;

/** Whether --ledger names a ledger in PostgreSQL, and not a file. */
export function isPostgres(ledger: string): boolean {
  return /^postgres(?:ql)?:/i.test(ledger);
}

/**
 * Reads `postgres:`, or `postgres://[USER@][HOST][:PORT][,…]/[DATABASE][?NAME=VALUE&…]` (PostgreSQL's manual, 34.1.1.2).
 * What it does not say comes from libpq's variables. Throws ValueError: for a password too, since every user of a machine can
 * read the arguments of its programs. No error repeats any part of the text, which may be a password in the wrong place.
 */
export function parsePostgresUrl(text: string): Parameters {
  if (/^postgres(?:ql)?:$/i.test(text)) return {};
  const [, rest] = /^postgres(?:ql)?:\/\/(.*)$/is.exec(text) ?? [];
  if (rest === undefined) throw new ValueError('takes postgres: or postgres://HOST/DATABASE');
  // To the last @, as a password may have any of the characters that end a name elsewhere.
  const at = rest.lastIndexOf('@');
  const user = rest.slice(0, Math.max(at, 0));
  if (/[:/?#@]/.test(user)) throw new ValueError(NO_PASSWORD);
  const { groups } = URL_PARTS.exec(rest.slice(at + 1)) ?? {};
  const { hosts = '', database, query = '' } = groups ?? {};
  const asked = parametersOf(query);
  const servers = hosts === '' ? [] : hosts.split(',').map(hostAndPort);
  const port = servers.map((server) => server.port).join(',');
  return withoutBlanks({
    user: decoded(user),
    host: servers.map(({ host }) => host).join(','),
    port: /\d/.test(port) ? port : undefined,
    dbname: decoded(database),
    ...asked,
  });
}

/** The option's reader: any file, or a URL of PostgreSQL. Throws ValueError, which repeats nothing that may be a password. */
export function ledgerText(text: string): string {
  if (isPostgres(text)) {
    parsePostgresUrl(text);
    // Some look at the beginning to tell it from a file.
    return text.replace(/^[^:]*/, (scheme) => scheme.toLowerCase());
  }
  if (/:\/\/|\bpassword\s*=/i.test(text)) {
    throw new ValueError('takes a file, postgres: or postgres://HOST/DATABASE');
  }
  return text;
}

function parametersOf(query: string): Parameters {
  const asked = [...new URLSearchParams(query)];
  if (asked.some(([name]) => /pass/i.test(name) && name !== 'passfile')) {
    throw new ValueError(NO_PASSWORD);
  }
  if (asked.some(([name]) => !PARAMETERS.has(name))) {
    throw new ValueError(
      `has a name after the question mark which is not one of these: ${[...PARAMETERS].join(', ')}`,
    );
  }
  const parameters = Object.fromEntries(asked);
  if (!/^[\d,]*$/.test(parameters['port'] ?? ''))
    throw new ValueError('takes a number for the port');
  return parameters;
}

/** What a URL may set after its question mark: what libpqSettings uses. */
const PARAMETERS: ReadonlySet<string> = new Set([
  'host',
  'port',
  'dbname',
  'user',
  'passfile',
  'service',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
]);

function hostAndPort(text: string): { host: string; port: string } {
  const { groups } = /^(?<host>\[[^\]]*\]|[^:]*)(?::(?<port>\d+))?$/.exec(text) ?? {};
  if (!groups) throw new ValueError('takes HOST or HOST:PORT, with a number for the port');
  const { host = '', port = '' } = groups;
  return { host: decoded(host.replace(/^\[(.*)\]$/, '$1')), port };
}

function decoded(text = ''): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ValueError('has a % that begins no character');
  }
}

/** Settings that say something: an empty one is as if it was not given. */
export function withoutBlanks(settings: Record<string, string | undefined>): Parameters {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined && value !== '');
  return Object.fromEntries(given) as Parameters;
}

const URL_PARTS = /^(?<hosts>[^/?]*)(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/s;

const NO_PASSWORD =
  'has a password, which every user of this machine could read there: put it into PGPASSWORD (the environment, a ' +
  'credential of systemd, or /etc/envdir/PGPASSWORD) or into the file that PGPASSFILE names; an @ that is no end of a user is ' +
  'written %40';
