import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { exitCodes, CommandError } from '../../../host/command-error.ts';
import { readRegularFile } from '../../../host/regular-file.ts';
import { firstLine, readSetting } from '../../../host/settings.ts';
import { parsePostgresUrl, withoutBlanks, type Parameters } from './postgres-url.ts';

/** A server's address: a host, or a folder with the server's Unix socket, which begins with a slash. */
export interface ServerAddress {
  host: string;
  port: number;
}

/** How to connect, as libpq would. */
export interface PostgresSettings {
  /** One after the other until one is found that takes writes. */
  servers: readonly ServerAddress[];
  user: string;
  database: string;
  /** Asks the server for TLS; `orPlain` goes on without it where the server has none (sslmode prefer). */
  tls: { options: ConnectionOptions; orPlain: boolean } | undefined;
  /** The password for a server, if there is one. */
  password: (server: ServerAddress) => string | undefined;
}

/**
 * The settings of a connection in the order of libpq: the URL, the service that PGSERVICE names, the variables, the defaults
 * (PostgreSQL's manual, 34.1.2, 34.15 to 34.17). The password is PGPASSWORD, as a setting of ours
 * (readSetting), or a line of the password file. Throws CommandError 78.
 */
export function libpqSettings(
  url: string,
  environment: NodeJS.ProcessEnv = process.env,
): PostgresSettings {
  const asked = parsePostgresUrl(url);
  const variables = fromVariables(environment);
  const service = asked['service'] ?? variables['service'];
  const settings = {
    ...variables,
    ...(service === undefined ? {} : readService(service, environment)),
    ...asked,
  };
  const user = settings['user'] ?? userInfo().username;
  const database = settings['dbname'] ?? user;
  const servers = serversOf(settings);
  const { password } = settings;
  return {
    servers,
    user,
    database,
    tls: servers.every(isSocket) ? undefined : tlsOf(settings),
    password: (server) =>
      password ??
      settingOfPassword(environment) ??
      readPassFile(settings['passfile'] ?? inHome('.pgpass'), { ...server, user, database }),
  };
}

/** Whether the server is reached by a Unix socket. */
export function isSocket({ host }: ServerAddress): boolean {
  return host.startsWith('/');
}

function fromVariables(environment: NodeJS.ProcessEnv): Parameters {
  return withoutBlanks(
    Object.fromEntries(
      Object.entries(VARIABLES).map(([name, variable]) => [name, environment[variable]]),
    ),
  );
}

/** The settings with variables; PGHOSTADDR only skips a look-up of the name, and the others are not ours to set. */
const VARIABLES = {
  host: 'PGHOST',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  passfile: 'PGPASSFILE',
  service: 'PGSERVICE',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
};

function serversOf({ host, port }: Parameters): ServerAddress[] {
  const hosts = (host ?? usualHost()).split(',');
  const ports = (port ?? '').split(',');
  return hosts.map((each, at) => {
    const text = (ports.length > 1 ? ports[at] : ports[0]) || '5432';
    const number = Number(text);
    if (!Number.isInteger(number) || number < 1 || number > 65_535) {
      throw configuration('the port of PostgreSQL (PGPORT) is a number from 1 to 65535');
    }
    return { host: each || usualHost(), port: number };
  });
}

/** Debian's libpq looks for the server's socket here. */
function usualHost(): string {
  return existsSync(SOCKETS) ? SOCKETS : 'localhost';
}

const SOCKETS = '/var/run/postgresql';

/** What sslmode means, as in libpq (34.19.1): without a root certificate `require` trusts any server. */
function tlsOf(settings: Parameters): PostgresSettings['tls'] {
  const mode = settings['sslmode'] ?? 'prefer';
  if (!SSL_MODES.has(mode)) {
    const modes = [...SSL_MODES].join(', ');
    throw configuration(`sslmode (PGSSLMODE) has to be one of ${modes}`);
  }
  if (mode === 'disable' || mode === 'allow') return undefined;
  const ca = tlsFile(settings, 'sslrootcert', 'root.crt');
  const cert = tlsFile(settings, 'sslcert', 'postgresql.crt');
  const key = tlsFile(settings, 'sslkey', 'postgresql.key');
  const isChecked = mode.startsWith('verify') || (mode === 'require' && ca !== undefined);
  const name = mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined };
  const files = withoutBlanks({ ca, cert, key });
  return {
    orPlain: mode === 'prefer',
    options: { rejectUnauthorized: isChecked, ...files, ...name },
  };
}

/** A file of libpq's for TLS: the one that is set, or else the one in the usual place. For `system`, Node.js's own. */
function tlsFile(settings: Parameters, name: string, usual: string): string | undefined {
  const file = settings[name] ?? existing(inHome(`.postgresql/${usual}`));
  return file === undefined || file === 'system' ? undefined : read(name, file);
}

const SSL_MODES = new Set(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']);

/** A section of the service file (34.17). */
function readService(name: string, environment: NodeJS.ProcessEnv): Parameters {
  const file = environment['PGSERVICEFILE'] ?? inHome('.pg_service.conf');
  const text = read('the service file (PGSERVICEFILE)', file);
  let section = '';
  const settings: Record<string, string> = {};
  let isThere = false;
  for (const line of text.split('\n').map((each) => each.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) section = line.slice(1, -1);
    isThere ||= section === name;
    const equals = line.indexOf('=');
    if (section === name && equals > 0) settings[line.slice(0, equals)] = line.slice(equals + 1);
  }
  if (!isThere) throw configuration(`there is no service [${name}] in ${file} (PGSERVICE)`);
  return withoutBlanks(settings);
}

function settingOfPassword(environment: NodeJS.ProcessEnv): string | undefined {
  const bytes = readSetting('PGPASSWORD', { environment });
  return bytes && firstLine(bytes).toString();
}

/** The password for a connection in a password file: host:port:database:user:password, * for any (34.16). */
function readPassFile(
  file: string,
  { host, port, database, user }: ServerAddress & { database: string; user: string },
): string | undefined {
  const found = existing(file) && statSync(file, { throwIfNoEntry: false });
  if (!found || !found.isFile()) return undefined;
  // As libpq does: others could read it, or have written it.
  if ((found.mode & 0o077) !== 0) {
    throw configuration(`the password file ${file} is open to others: chmod 600 ${file}`);
  }
  const wanted = [host === SOCKETS ? 'localhost' : host, String(port), database, user];
  for (const line of readRegularFile(file).toString().split('\n')) {
    const fields = Array.from(line.matchAll(/(?:\\.|[^:\\])*(?::|$)/g), ([field]) =>
      field.replace(/:$/, '').replace(/\\(.)/g, '$1'),
    );
    const fits = wanted.every((value, at) => fields[at] === '*' || fields[at] === value);
    if (!line.startsWith('#') && fits && fields[4] !== undefined) return fields[4];
  }
  return undefined;
}

function inHome(name: string): string {
  return join(homedir(), name);
}

function existing(file: string): string | undefined {
  return existsSync(file) ? file : undefined;
}

function read(what: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw configuration(`cannot read ${what} ${file}: ${(error as Error).message}`);
  }
}

function configuration(text: string): CommandError {
  return new CommandError(exitCodes.configuration, text);
}
