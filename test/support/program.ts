import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { forgetClocks } from './clock.ts';
import { inTime } from './in-time.ts';
import type { TestContext } from 'node:test';

/** A path in this checkout. */
export function inCheckout(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

export interface Ended {
  /** Exit code; null after a death by signal. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: Buffer;
  stderr: string;
}

/** A program under test, started by the test and certain to be gone after it. */
export class Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  #stdout: Buffer[] = [];
  #stderr = '';
  #watchers = new Set<() => void>();

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (chunk: Buffer) => this.#stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
      for (const look of this.#watchers) look();
    });
    this.ended = once(child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout: Buffer.concat(this.#stdout),
      stderr: this.#stderr,
    }));
  }

  /** What it has written to standard error so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Waits until standard error matches, `times` times; fails when the program ends before. */
  async says(pattern: RegExp, times = 1): Promise<RegExpMatchArray> {
    const all = new RegExp(pattern.source, `${pattern.flags.replace('g', '')}g`);
    const said = new Promise<RegExpMatchArray>((resolve, reject) => {
      const look = () => {
        const match = [...this.#stderr.matchAll(all)][times - 1];
        if (!match) return;
        this.#watchers.delete(look);
        resolve(match);
      };
      this.#watchers.add(look);
      look();
      void this.ended.then(({ code, signal }) =>
        reject(new Error(`ended (${code ?? signal}) without ${pattern}:\n${this.#stderr}`)),
      );
    });
    return inTime(said, () => `${pattern}, ${times} times:\n${this.#stderr}`);
  }

  /** The lines of standard error from its beginning, as they come, until the program ends. */
  async *lines(): AsyncGenerator<string> {
    for (let begin = 0; ;) {
      const end = this.#stderr.indexOf('\n', begin);
      if (end >= 0) {
        yield this.#stderr.slice(begin, end);
        begin = end + 1;
      } else {
        const more = new Promise<'more'>((resolve) => {
          const look = () => {
            this.#watchers.delete(look);
            resolve('more');
          };
          this.#watchers.add(look);
        });
        if ((await Promise.race([more, this.ended])) !== 'more') return;
      }
    }
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }
}

/** For `setpriv`: what it becomes is killed when the test ends, however that ends. */
export const DIES_WITH_TEST = ['--pdeathsig', 'KILL', '--'];

/** What a program finds by its name; the launcher of exim-pipe finds the Node.js of the tests. */
const PATH = `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin:/usr/sbin`;

/** Starts a program; its environment is bare but for what is given. */
export function start(
  t: TestContext,
  file: string,
  args: readonly string[],
  { env = {}, cwd, input }: { env?: NodeJS.ProcessEnv; cwd?: string; input?: Buffer | string } = {},
): Program {
  if (env['LD_PRELOAD']) forgetClocks();
  const child = spawn('/usr/bin/setpriv', [...DIES_WITH_TEST, file, ...args], {
    cwd,
    env: { PATH, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => {}); // A program that does not read all of its input is no fault.
  if (input !== undefined) child.stdin.end(input);
  const program = new Program(child);
  if (env['LD_PRELOAD']) void program.ended.then(forgetClocks);
  t.after(async () => {
    child.stdin.destroy();
    if (child.exitCode === null && child.signalCode === null) await program.stop('SIGKILL');
  });
  return program;
}

/** Runs a program to its end. */
export async function run(...args: Parameters<typeof start>): Promise<Ended> {
  const [t, file, words, options] = args;
  return start(t, file, words, { input: '', ...options }).ended;
}

/** `appengine-mailer` as one file, see bundle.mjs. */
export const bundledProgram = inCheckout('build/test/bin/appengine-mailer.mjs');

/** Starts `appengine-mailer ARGS…` as it is built. */
export function appengineMailer(
  t: TestContext,
  args: readonly string[],
  options: Parameters<typeof start>[3] = {},
): Program {
  // No test tells senders anything by the mail server of this machine.
  const env = { APPENGINE_MAILER_NOTICE_SMTP: '127.0.0.1:1', ...options.env };
  return start(t, process.execPath, [bundledProgram, ...args], { ...options, env });
}
