import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { account, type Account } from './account.ts';
import { Intake } from './lmtp.ts';
import { run, start, type Ended, type Program } from './program.ts';
import type { Road } from './road.ts';

/**
 * An Exim of the test's own, before a road, with the router and the transport as they are shipped. Its
 * configuration, queue and log are in the road's folder, and nothing listens. What is not for the local
 * domain, host.example, goes through exim/exim-pipe into the road's spool. What is lands in one
 * mailbox: bounces would be seen there; so would mail that our router leaves to the router behind it.
 *
 * Needs root, because Exim does, to become the account of the pipe.
 */
export class PrivateExim {
  readonly road: Road;
  readonly account: Account;
  readonly folder: string;
  /** What the transport runs. */
  readonly pipe: string;
  /** Where the LMTP server is looked for: where a socket is, the pipe is not used. */
  readonly socket: string;
  readonly #config: string;
  readonly #mailbox: string;
  readonly #streams: string;

  constructor(road: Road) {
    this.road = road;
    this.account = account();
    this.folder = join(road.folder, 'exim');
    this.pipe = join(this.folder, 'exim-pipe');
    this.socket = join(this.folder, 'lmtp', 'intake.sock');
    this.#config = join(this.folder, 'config');
    this.#mailbox = join(this.folder, 'mail', 'box');
    this.#streams = join(this.folder, 'streams');

    chmodSync(road.folder, 0o711); // The account passes through it.
    mkdirSync(this.folder, { mode: 0o755 });
    for (const folder of [dirname(this.#mailbox), dirname(this.socket), this.#streams]) {
      mkdirSync(folder);
      this.give(folder);
    }
    this.giveSpool();
    this.launch();
    this.configure();
  }

  /** Makes a file or folder the account's. */
  give(path: string): void {
    chownSync(path, this.account.uid, this.account.gid);
  }

  /** Makes the road's spool a folder as the package does. */
  giveSpool(): void {
    mkdirSync(this.road.spool, { recursive: true });
    this.give(this.road.spool);
    chmodSync(this.road.spool, 0o2770);
  }

  /**
   * Says how the pipe is run from now on. Exim gives the transport a clean environment and only the
   * Exim id, so a script stands before the launcher: it names the spool and finds the Node of this
   * test; `before`, lines of sh, spoils what the test wants spoilt.
   */
  launch(before = '', launcher = this.account.launcher): void {
    const lines = [
      '#!/bin/sh',
      `PATH='${dirname(process.execPath)}':$PATH`,
      before,
      `exec '${launcher}' "$@" --spool '${this.road.spool}'`,
    ];
    this.install(`${lines.join('\n')}\n`);
  }

  /** Makes this text the program that the transport runs. */
  install(text: string, mode = 0o755): void {
    // Renamed, so that no run of Exim's meets half a program.
    writeFileSync(`${this.pipe}.new`, text);
    chmodSync(`${this.pipe}.new`, mode);
    renameSync(`${this.pipe}.new`, this.pipe);
  }

  /** Starts the LMTP server where Exim looks for it. */
  async intake(env: NodeJS.ProcessEnv = {}): Promise<Intake> {
    const { t, spool } = this.road;
    return Intake.start(t, { folder: dirname(this.socket), spool, env });
  }

  /** From now on, what Exim writes to the pipe is kept too, for `streams`. */
  tee(): void {
    const file = `'${this.#streams}/'$1.$(ls '${this.#streams}' | grep -c "^$1")`;
    this.launch(`file=${file}\ncat >"$file"\nexec <"$file"`);
  }

  /** What Exim has written to the pipe for this message, one element a run. */
  streams(eximId: string): Buffer[] {
    const streams: Buffer[] = [];
    for (;;) {
      const file = join(this.#streams, `${eximId}.${streams.length}`);
      if (!existsSync(file)) return streams;
      streams.push(readFileSync(file));
    }
  }

  /** Runs Exim with its configuration. One run takes a message or delivers one, see `send`. */
  async exim(args: readonly string[], input: Buffer | string = ''): Promise<Ended> {
    return run(this.road.t, '/usr/sbin/exim4', ['-C', this.#config, ...args], { input });
  }

  /**
   * Gives Exim a message as sendmail(8) does, and waits until it has been tried; returns Exim's id of
   * it. Two runs, because an Exim that has taken a message by somebody's own configuration delivers it
   * without root. The sender may be empty; without recipients, `-t` is wanted among the options.
   */
  async send(
    sender: string,
    recipients: readonly string[],
    message: Buffer | string = 'Subject: test\n\ntest\n',
    options: readonly string[] = [],
  ): Promise<string> {
    const envelope = ['-f', sender === '' ? '<>' : sender, ...options, '--', ...recipients];
    const before = this.mainlog().length;
    const { code, stdout, stderr } = await this.exim(['-odq', '-oi', ...envelope], message);
    const arrived = this.mainlog()
      .slice(before)
      .flatMap((line) => /^(\S+) <= /.exec(line)?.[1] ?? []);
    const [id] = arrived;
    if (id === undefined || arrived.length > 1) {
      throw new Error(`exim4 took ${arrived.length} (${code}): ${stdout.toString()}${stderr}`);
    }
    await this.exim(['-M', id]);
    return id;
  }

  /** Like `send`, by SMTP: a message in CRLF, as one chunk of RFC 3030, so that its bytes are free. */
  async sendChunk(sender: string, recipients: readonly string[], message: Buffer): Promise<string> {
    const [id = ''] = await this.take([{ sender, recipients, message }]);
    await this.exim(['-M', id]);
    return id;
  }

  /** Gives Exim such messages, in one session, and returns its ids of them. They wait for a queue run. */
  async take(
    mails: readonly { sender: string; recipients: readonly string[]; message: Buffer }[],
  ): Promise<string[]> {
    const session = mails.flatMap(({ sender, recipients, message }) => [
      Buffer.from(`MAIL FROM:<${sender}> BODY=8BITMIME\r\n`),
      ...recipients.map((recipient) => Buffer.from(`RCPT TO:<${recipient}>\r\n`)),
      Buffer.from(`BDAT ${message.length} LAST\r\n`),
      message,
    ]);
    const input = [Buffer.from('EHLO client.example\r\n'), ...session, Buffer.from('QUIT\r\n')];
    const { stdout, stderr } = await this.exim(['-odq', '-bs'], Buffer.concat(input));
    const ids = [...stdout.toString().matchAll(/^250 OK id=(\S+)/gm)].map(([, id]) => id ?? '');
    if (ids.length === mails.length) return ids;
    throw new Error(`exim4 took ${ids.length} of ${mails.length}: ${stdout.toString()}${stderr}`);
  }

  /** The lines of Exim's main log, without their times. */
  mainlog(): string[] {
    const file = join(this.folder, 'queue', 'log', 'main');
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => line.replace(/^\S+ \S+ /, ''));
  }

  /** How many messages are in Exim's queue. */
  async queued(): Promise<number> {
    const { stdout } = await this.exim(['-bpc']);
    return Number(stdout.toString());
  }

  /** Tries all of the queue, whatever the retry times and frozen or not, and waits for the end. */
  async runQueue(): Promise<void> {
    const { code, stderr } = await this.startQueueRun().ended;
    if (code !== 0) throw new Error(`exim4 -qff ends with ${code}: ${stderr}`);
  }

  /** Begins to try all of the queue. */
  startQueueRun(): Program {
    return start(this.road.t, '/usr/sbin/exim4', ['-C', this.#config, '-qff'], { input: '' });
  }

  /** What came to the mailbox. */
  mailbox(): string {
    return existsSync(this.#mailbox) ? readFileSync(this.#mailbox, 'utf8') : '';
  }

  /**
   * Takes SMTP on a free port of 127.0.0.1 and returns the port. An Exim a connection, as inetd does it:
   * no daemon has to be told a port that somebody else may have by then. What comes waits for runQueue.
   */
  async listen(): Promise<number> {
    const { t } = this.road;
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      const args = ['-C', this.#config, '-odq', '-bs'];
      const child = spawn('/usr/sbin/exim4', args, { stdio: [socket, socket, 'inherit'] });
      child.once('spawn', () => socket.destroy()); // It is Exim's now.
      t.after(() => child.kill('SIGKILL'));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    return (server.address() as AddressInfo).port;
  }

  /** Writes the configuration. `main` are further main options and macros; `user` is the pipe's. */
  configure({ main = '', user = this.account.name, smarthost = true } = {}): void {
    const lines = `
APPENGINE_MAILER_PIPE = ${this.pipe}
APPENGINE_MAILER_SOCKET = ${this.socket}
APPENGINE_MAILER_USER = ${user}
${smarthost ? 'DCconfig_smarthost = 1' : ''}
primary_hostname = host.example
domainlist local_domains = host.example
spool_directory = ${join(this.folder, 'queue')}
log_file_path = ${join(this.folder, 'queue', 'log', '%s')}
keep_environment =
tls_advertise_hosts =
acl_smtp_rcpt = accept
smtp_accept_max_per_connection = 0
never_users =
${main}
begin routers
.include ${join(dirname(this.account.launcher), 'router')}
the_next:
  driver = accept
  transport = mailbox
begin transports
.include ${join(dirname(this.account.launcher), 'transport')}
mailbox:
  driver = appendfile
  file = ${this.#mailbox}
  user = ${this.account.name}
begin retry
* * F,4d,15m
`;
    writeFileSync(this.#config, lines);
  }
}
