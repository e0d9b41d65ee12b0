import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Client, type QueryResultRow } from 'pg';
import type { Inside } from './mounted.ts';
import { Program } from './program.ts';

/** Where Debian puts the programs of PostgreSQL: the latest version that is installed. */
export const POSTGRES = existsSync('/usr/lib/postgresql')
  ? readdirSync('/usr/lib/postgresql')
      .toSorted((one, other) => Number(other) - Number(one))
      .map((version) => `/usr/lib/postgresql/${version}/bin`)
      .find((bin) => existsSync(`${bin}/initdb`))
  : undefined;

export interface PostgresOptions {
  /** Settings of the server, as in postgresql.conf. fsync is on unless it is off here. */
  settings?: Readonly<Record<string, string>>;
  /** A folder for the data, which is empty or has a cluster. */
  data?: string;
  /** Runs it where the data is seen, see mounted.ts. */
  inside?: Inside;
}

/**
 * A PostgreSQL server of the test's own, on a Unix socket alone, in a folder of its own. It runs as the user `postgres` where
 * the test is root, since it refuses root.
 */
export class PostgresServer {
  /** The folder with its socket. */
  readonly folder: string;
  readonly data: string;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #inside: Inside;
  #program: Program | undefined;

  private constructor(
    folder: string,
    data: string,
    settings: Readonly<Record<string, string>>,
    inside: Inside,
  ) {
    this.#inside = inside;
    this.folder = folder;
    this.data = data;
    this.#settings = settings;
  }

  static async start(t: TestContext, options: PostgresOptions = {}): Promise<PostgresServer> {
    const folder = mkdtempSync(join(tmpdir(), 'appengine-mailer-postgres-'));
    giveAway(folder);
    const data = options.data ?? join(folder, 'data');
    const { settings = {}, inside = outside } = options;
    if (!existsSync(join(data, 'PG_VERSION'))) copyTemplate(data, inside);
    const server = new PostgresServer(folder, data, settings, inside);
    t.after(async () => {
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    });
    await server.start();
    return server;
  }

  /** The environment of a program that uses it. */
  get environment(): Record<string, string> {
    return { PGHOST: this.folder, PGUSER: 'ledger', PGDATABASE: 'ledger' };
  }

  /** The same as a URL. */
  get url(): string {
    return `postgres://ledger@${encodeURIComponent(this.folder)}/ledger`;
  }

  async start(): Promise<void> {
    const settings = {
      unix_socket_directories: this.folder,
      listen_addresses: '',
      ...this.#settings,
    };
    const given = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const [own = '', ...words] = asPostgres('postgres', '-D', this.data, ...given);
    const [file, args] = this.#inside(own, ...words);
    this.#program = new Program(spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] }));
    await this.#program.says(/database system is ready to accept/);
  }

  /** Ends it as `pg_ctl stop -m fast` (SIGINT) or `-m immediate` (SIGQUIT) do, or all of its processes at once (SIGKILL). */
  async stop(signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    this.#program?.child.kill(signal);
    await this.#program?.ended;
    this.#program = undefined;
  }

  async kill(): Promise<void> {
    await this.stop('SIGQUIT');
  }

  /** Suspends all of its processes, or lets them go on. */
  signalAll(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const pid = this.#program?.child.pid;
    if (pid === undefined) throw new Error('PostgreSQL does not run');
    const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)]).toString();
    for (const each of [pid, ...children.trim().split(/\s+/).map(Number)])
      process.kill(each, signal);
  }

  get isRunning(): boolean {
    return this.#program?.child.exitCode === null;
  }

  /** What the server has said. */
  get log(): string {
    return this.#program?.stderr ?? '';
  }

  /** The rows of a query, as its administrator. */
  async query<Row extends QueryResultRow>(
    text: string,
    values: unknown[] = [],
    database = 'ledger',
  ): Promise<Row[]> {
    const client = new Client({ host: this.folder, user: 'ledger', database });
    await client.connect();
    try {
      await client.query('SET search_path = appengine_mailer, public');
      return (await client.query<Row>(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  /** A new database in it, and its URL. */
  async database(name: string): Promise<string> {
    await this.query(`CREATE DATABASE ${name}`);
    return `postgres://ledger@${encodeURIComponent(this.folder)}/${name}`;
  }
}

/** Copies a cluster that is made once on this machine, since initdb takes seconds. */
function copyTemplate(data: string, inside: Inside): void {
  const version = POSTGRES?.split('/').at(-2) ?? '';
  const template = join(tmpdir(), `appengine-mailer-postgres-${version}-${userInfo().uid}`);
  if (!existsSync(template)) makeTemplate(template);
  execFileSync(...inside('cp', '-a', '--reflink=auto', template, data));
}

function makeTemplate(template: string): void {
  const fresh = mkdtempSync(`${template}-`);
  giveAway(fresh);
  const words = ['-A', 'trust', '-U', 'ledger', '--no-locale', '-E', 'UTF8', '--no-sync'];
  runAsPostgres('initdb', '-D', fresh, ...words);
  // Alone, without a server: it makes the database that the environment names.
  const [file = '', ...args] = asPostgres('postgres', '--single', '-D', fresh, 'postgres');
  execFileSync(file, args, {
    input: 'CREATE DATABASE ledger\n',
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  try {
    renameSync(fresh, template);
  } catch {
    rmSync(fresh, { recursive: true, force: true }); // Another test was quicker.
  }
}

/** Runs one of PostgreSQL's programs to its end. */
export function runAsPostgres(program: string, ...words: string[]): string {
  const [file = '', ...args] = asPostgres(program, ...words);
  return execFileSync(file, args, { stdio: 'pipe' }).toString();
}

/** The command that runs one of PostgreSQL's programs; it ends with the test, however that ends. */
function asPostgres(program: string, ...words: string[]): string[] {
  const ids = isRoot ? ['--reuid=postgres', '--regid=postgres', '--init-groups'] : [];
  return ['setpriv', ...ids, '--pdeathsig=QUIT', '--', `${POSTGRES}/${program}`, ...words];
}

/** Gives a folder to the user of the server. */
export function giveAway(folder: string): void {
  if (isRoot) execFileSync('chown', ['postgres:', folder]);
}

const outside: Inside = (file, ...args) => [file, args];

const isRoot = process.geteuid?.() === 0;
