import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { POSTFIX } from '../support/needs.ts';
import { POSTFIX_ENV } from '../support/start-postfix.ts';

/** One measurement, in words. */
interface Result {
  what: string;
  measured: string;
  /** What DESIGN asks for; left out where it asks for nothing. */
  budget?: string;
  holds?: boolean;
  /** What keeps it from being better: the CPU that the programs took, or what they waited for. */
  bound?: string | undefined;
}

/** What a run of the bench has measured: printed line by line, and kept in a file at the end. */
export class Results {
  readonly #results: Result[] = [];
  readonly #begun = performance.now();
  readonly #date = new Date();

  add(result: Result): void {
    this.#results.push(result);
    const { what, measured, budget = '', bound = '' } = result;
    const line = [what.padEnd(62), measured.padEnd(18), budget.padEnd(14), wordOf(result), bound];
    console.log(line.join(' ').trimEnd());
  }

  /** Tells that something was not measured, and why. */
  lacks(what: string, reason: string): void {
    this.add({ what, measured: `not measured: ${reason}` });
  }

  /** Writes a page that says on what machine, with what, when and how long it was measured. */
  write(file: string): void {
    const minutes = ((performance.now() - this.#begun) / 60_000).toFixed(1);
    const [load = ''] = readFileSync('/proc/loadavg', 'utf8').split(' ', 1);
    const [processor] = cpus();
    const rows = this.#results.map((result) => {
      const { what, measured, budget = '', bound = '' } = result;
      return `| ${[what, measured, budget, wordOf(result), bound].join(' | ')} |`;
    });
    const page = `# The last results of the bench

\`npm run bench\` writes this page. It was run on ${this.#date.toISOString().slice(0, 10)}, and took ${minutes} minutes, on
${cpus().length} × ${processor?.model}, ${Math.round(totalmem() / 1e9)} GB, Linux ${release()}, with Node.js ${process.version} and
${versions().join(', ')}; the load at its end was ${load}. A ratio compares two measurements of the same run: it says the same on
another machine, and nearly the same on a busy one.

| what | measured | budget | holds | what bounds it |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`;
    writeFileSync(file, page);
    execFileSync('npx', ['prettier', '--write', '--log-level', 'warn', file]);
    console.log(`\nkept in ${file}, after ${minutes} minutes`);
  }
}

function wordOf({ holds }: Result): string {
  return holds === undefined ? '' : holds ? 'yes' : 'no';
}

/** What the programs are that took part. */
function versions(): string[] {
  const postconf = join(POSTFIX ?? '', 'usr/sbin/postconf');
  return [
    `SQLite ${new Database(':memory:').prepare<[], string>('SELECT sqlite_version()').pluck().get()}`,
    ...versionOf('Exim', '/usr/sbin/exim4', '-bV'),
    ...versionOf('Postfix', postconf, '-d', 'mail_version'),
    ...versionOf('nginx', '/usr/sbin/nginx', '-v'),
    ...versionOf('OpenSSL', 'openssl', 'version'),
  ];
}

/** The first number with a dot in what it says; nothing where it is not there. */
function versionOf(name: string, file: string, ...args: string[]): string[] {
  const { stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', env: POSTFIX_ENV });
  const [version] = /\d+\.[\d.]+\d/.exec(`${stdout}${stderr}`) ?? [];
  return version === undefined ? [] : [`${name} ${version}`];
}
