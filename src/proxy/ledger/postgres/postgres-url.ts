import { ValueError } from '../../../host/option-values.ts';

/** The settings of a connection by the names that libpq has for them, such as host and sslmode. */
export type Parameters = Readonly<Record<string, string>>;

/** Whether --ledger names a ledger in PostgreSQL, and not a file. */
export function isPostgres(ledger: string): boolean {
  return /^postgres(?:ql)?:/.test(ledger);
}

/**
 * Reads `postgres:`, or `postgres://[USER@][HOST][:PORT][,…]/[DATABASE][?NAME=VALUE&…]` (PostgreSQL's manual, 34.1.1.2).
 * What it does not say comes from libpq's variables. Throws ValueError: for a password too, since every user of a machine can
 * read the arguments of its programs.
 */
export function parsePostgresUrl(text: string): Parameters {
  if (/^postgres(?:ql)?:$/.test(text)) return {};
  const { groups } = URL_PARTS.exec(text) ?? {};
  if (!groups) throw new ValueError(`takes postgres: or postgres://HOST/DATABASE`);
  const { user, password, hosts = '', database, query = '' } = groups;
  const asked = Object.fromEntries(new URLSearchParams(query));
  if (password !== undefined || 'password' in asked) throw new ValueError(NO_PASSWORD);
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

/** The option's reader: any file, or a URL of PostgreSQL. Throws ValueError. */
export function ledgerText(text: string): string {
  if (isPostgres(text)) parsePostgresUrl(text);
  return text;
}

function hostAndPort(text: string): { host: string; port: string } {
  const { groups } = /^(?<host>\[[^\]]*\]|[^:]*)(?::(?<port>\d*))?$/.exec(text) ?? {};
  if (!groups) throw new ValueError(`takes HOST or HOST:PORT, and got ${JSON.stringify(text)}`);
  const { host = '', port = '' } = groups;
  return { host: decoded(host.replace(/^\[(.*)\]$/, '$1')), port };
}

function decoded(text = ''): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ValueError(`has a % that begins no character: ${JSON.stringify(text)}`);
  }
}

/** Settings that say something: an empty one is as if it was not given. */
export function withoutBlanks(settings: Record<string, string | undefined>): Parameters {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined && value !== '');
  return Object.fromEntries(given) as Parameters;
}

const URL_PARTS =
  /^postgres(?:ql)?:\/\/(?:(?<user>[^/:@?]*)(?::(?<password>[^/@?]*))?@)?(?<hosts>[^/?]*)(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/;

const NO_PASSWORD =
  'has a password, which every user of this machine could read there: put it into PGPASSWORD (the environment, a ' +
  'credential of systemd, or /etc/envdir/PGPASSWORD) or into the file that PGPASSFILE names';
