import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { ownerToBecome } from '../../src/host/give-up-root.ts';
import { inProcess } from './in-process.ts';
import { appengineMailer, inCheckout, run, type Ended, type Program } from './program.ts';
import { scratch } from './scratch.ts';

/** A message as the file backend delivered it. */
export interface Delivered {
  id: string;
  sender: string;
  recipients: string[];
  bytes: Buffer;
}

/** A message in BSMTP, as Exim's pipe transport writes it. */
export function bsmtp(
  sender: string,
  recipients: readonly string[],
  message: Buffer | string,
): Buffer {
  const stuffed = Buffer.from(message)
    .toString('latin1')
    .replace(/(^|\n)\./g, '$1..');
  return Buffer.concat([
    Buffer.from(`MAIL FROM:<${sender}>\n`),
    ...recipients.map((recipient) => Buffer.from(`RCPT TO:<${recipient}>\n`)),
    Buffer.from('DATA\n'),
    Buffer.from(stuffed, 'latin1'),
    Buffer.from('.\n'),
  ]);
}

/** The whole road in a folder of the test's own: spool, drain and a proxy with the file backend. */
export class Road {
  readonly t: TestContext;
  readonly folder: string;
  readonly spool: string;
  readonly delivered: string;
  readonly key = 'a secret key for this road';
  /** HOST:PORT of the last proxy that was started. */
  address = '127.0.0.1:1';

  constructor(t: TestContext) {
    this.t = t;
    this.folder = scratch(t);
    this.spool = join(this.folder, 'spool');
    this.delivered = join(this.folder, 'delivered');
    mkdirSync(this.spool);
  }

  /** Hands a message in through the real launcher. */
  async pipe(eximId: string, input: Buffer | string, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    const args = [eximId, '--spool', this.spool];
    return run(this.t, inCheckout('exim/exim-pipe'), args, { input, env });
  }

  /** Starts a proxy, on the port of the last one unless told otherwise, and waits until it listens. */
  async proxy(
    args: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
    ledgerFile = join(this.folder, 'ledger.db'),
  ): Promise<Program> {
    const port = this.address.endsWith(':1') ? '0' : this.address.split(':').at(-1);
    const ledger = ['--ledger', ledgerFile, '--dir', this.delivered];
    const proxy = appengineMailer(
      this.t,
      ['proxy', '--listen', `127.0.0.1:${port}`, ...ledger, ...args],
      { cwd: this.folder, env: { GMAIL_SECRET_KEY: this.key, ...env } },
    );
    const [, address] = await proxy.says(/proxy listens on (\S+),/);
    if (address) this.address = address;
    return proxy;
  }

  /** Starts a drain to the last proxy, or to the URL given in the environment. */
  drain(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Program {
    return appengineMailer(this.t, ['drain', '--spool', this.spool, ...args], {
      env: { GMAIL_PROXY_URL: `http://${this.address}/`, GMAIL_SECRET_KEY: this.key, ...env },
    });
  }

  /** Runs `appengine-mailer queue ARGS…` to its end; within this process where that is the same. */
  async queue(...args: string[]): Promise<Ended> {
    const words = ['queue', ...args, '--spool', this.spool];
    const needsProcess = ['return', 'export', 'import', 'fsck'].includes(args[0] ?? '');
    if (!needsProcess && (!existsSync(this.spool) || !ownerToBecome(this.spool))) {
      return inProcess('appengine-mailer', words);
    }
    return appengineMailer(this.t, words, { input: '' }).ended;
  }

  /** The messages of `queue --json`; state all unless told otherwise. */
  async messages(...args: string[]): Promise<Record<string, unknown>[]> {
    const { stdout } = await this.queue(
      'list',
      '--json',
      ...(args.length > 0 ? args : ['--state', 'all']),
    );
    const lines = stdout
      .toString()
      .split('\n')
      .filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Law 8's numbers. Fails the test when they do not add up. */
  async stats(): Promise<Record<string, number>> {
    const { stdout } = await this.queue('stats', '--json');
    const stats = JSON.parse(stdout.toString()) as Record<string, number>;
    const states = ['queued', 'sending', 'held', 'failed', 'sent', 'bounced', 'deleted'];
    const sum = [...states, 'damaged'].reduce((total, state) => total + (stats[state] ?? NaN), 0);
    if (sum !== stats['accepted']) throw new Error(`law 8 is broken: ${stdout.toString()}`);
    return stats;
  }

  /** What the file backend has. */
  deliveries(): Delivered[] {
    return readdirSync(this.delivered)
      .filter((name) => name.endsWith('.eml'))
      .map((name) => {
        const envelope = readFileSync(join(this.delivered, name.replace(/eml$/, 'json')), 'utf8');
        return {
          ...(JSON.parse(envelope) as Omit<Delivered, 'bytes'>),
          bytes: readFileSync(join(this.delivered, name)),
        };
      });
  }
}
