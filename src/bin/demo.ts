import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DemoExim } from './demo-exim.ts';

/**
 * npm start: shows the main job on this machine, in a temporary folder. A proxy with the file backend
 * and a drain run; messages are handed in by a private Exim through the LMTP server, or through exim-pipe where no
 * Exim can be run; the proxy is away for some seconds while mail arrives; it comes back, and everything arrives.
 * Ends by itself: 0, or 1 when something did not happen in time.
 */
async function demonstrate(): Promise<void> {
  say(`everything is in ${folder}`);
  say(
    typeof exim === 'string'
      ? `messages go in through exim-pipe directly, since ${exim}`
      : 'messages go in by LMTP: a private Exim, with the router and transports as shipped, hands them to intake',
  );
  const intake = typeof exim === 'string' ? undefined : await startIntake(exim.socket);

  let proxy = await startProxy('127.0.0.1:0');
  const address = /listens on (\S+),/.exec(proxy.output)?.[1] ?? '';
  const drain = start('drain', ['drain', '--spool', spool, '--proxy-url', `http://${address}/`]);
  await drain.says(/started/);

  say('two messages arrive, and are sent at once');
  await handIn(1);
  await handIn(2);
  await drain.says(/attempt 1: .*> sent \(/, 2);

  say('the proxy stops; three more messages arrive meanwhile');
  await proxy.stop();
  for (const number of [3, 4, 5]) await handIn(number);
  await drain.says(/try 3 failed/);

  say('the proxy is back');
  proxy = await startProxy(address);
  await drain.says(/attempt 1: .*> sent \(/, 5);
  await drain.stop();
  await proxy.stop();
  await intake?.stop();
  await showResult(intake ? 'by LMTP' : 'through exim-pipe');
}

/** Shows the queue, and throws unless all messages were delivered. `way`: how they came in. */
async function showResult(way: string): Promise<void> {
  say('the queue now:');
  await start('queue', ['queue', 'stats', '--spool', spool]).ended;
  const files = readdirSync(delivered).filter((name) => name.endsWith('.eml'));
  if (files.length !== 5)
    throw new Error(`5 messages were handed in and ${files.length} delivered`);
  say(`all 5 messages came in ${way} and arrived, each once; they are in ${delivered}`);
}

/** A child program; its output is shown as it comes. */
class Child {
  readonly ended: Promise<unknown>;
  output = '';
  readonly #process: ChildProcess;
  readonly #look = new Set<() => void>();

  constructor(name: string, file: string, args: readonly string[]) {
    this.#process = spawn(file, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = once(this.#process, 'close');
    children.add(this.#process);
    void this.ended.then(() => children.delete(this.#process));
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
        for (const line of chunk.toString().trimEnd().split('\n')) show(name, line);
        for (const look of this.#look) look();
      });
    }
  }

  /** Waits until the output matches so many times. */
  async says(pattern: RegExp, times = 1): Promise<void> {
    const all = new RegExp(pattern, 'g');
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        if ((this.output.match(all)?.length ?? 0) >= times) resolve();
      };
      this.#look.add(look);
      look();
      void this.ended.then(() => reject(new Error('a program of the demonstration ended early')));
    });
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGTERM');
    await this.ended;
  }
}

async function startProxy(listen: string): Promise<Child> {
  const proxy = start('proxy', ['proxy', '--listen', listen, '--dir', delivered]);
  await proxy.says(/listens on/);
  return proxy;
}

async function startIntake(socket: string): Promise<Child> {
  const intake = start('intake', ['intake', '--socket', socket, '--spool', spool]);
  await intake.says(/takes mail on/);
  return intake;
}

function start(name: string, args: readonly string[]): Child {
  return new Child(name, process.execPath, [inCheckout('dist/bin/appengine-mailer.js'), ...args]);
}

async function handIn(number: number): Promise<void> {
  const [sender, recipient] = ['you@example.com', `friend-${number}@example.org`];
  const message = `From: ${sender}\nTo: ${recipient}\nSubject: message ${number}\n\nHello!\n`;
  if (typeof exim !== 'string') {
    show('exim', await exim.send(sender, recipient, message));
    return;
  }
  const input = `MAIL FROM:<${sender}>\nRCPT TO:<${recipient}>\nDATA\n${message}.\n`;
  const pipe = spawn(inCheckout('exim/exim-pipe'), [`demo-${number}`, '--spool', spool], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  pipe.stdin.end(input);
  pipe.stdout.on('data', (chunk: Buffer) => show('pipe', chunk.toString().trimEnd()));
  await once(pipe, 'close');
}

function show(name: string, line: string): void {
  process.stdout.write(`${name.padStart(6)} | ${line}\n`);
}

function say(text: string): void {
  process.stdout.write(`\n${text}\n`);
}

function inCheckout(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

const folder = mkdtempSync(join(tmpdir(), 'appengine-mailer-demo-'));
const spool = join(folder, 'spool');
const delivered = join(folder, 'delivered');
mkdirSync(spool, { mode: 0o2770 });
const env = {
  PATH: process.env['PATH'],
  GMAIL_SECRET_KEY: randomBytes(24).toString('base64'),
};
const children = new Set<ChildProcess>();
const exim = DemoExim.make({ folder, spool, checkout: inCheckout('.') });
const TIME_LIMIT_MS = 55_000;
const late = setTimeout(() => fail(new Error('something took too long')), TIME_LIMIT_MS);
await demonstrate().catch(fail);
clearTimeout(late);

function fail(error: Error): never {
  process.stdout.write(`\nthe demonstration failed: ${error.message}; look into ${folder}\n`);
  for (const child of children) child.kill('SIGKILL');
  process.exit(1);
}
