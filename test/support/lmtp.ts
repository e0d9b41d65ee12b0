import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { inTime } from './in-time.ts';
import type { Inside } from './mounted.ts';
import { appengineMailer, bundledProgram, start, type Program } from './program.ts';

/** A message as it is handed over by LMTP. */
export interface LmtpMail {
  sender?: string;
  recipients?: readonly string[];
  /** As the client has it, with lines that end in LF. */
  message?: Buffer | string;
  /** Exim's id of it, for the last header line. */
  eximId?: string | undefined;
}

/** The commands of one message and its data, as Exim's lmtp transport writes them. */
export function lmtpMail({
  sender = 's@example.com',
  recipients = ['r@example.org'],
  message = 'Subject: x\n\nhello\n',
  eximId,
}: LmtpMail = {}): Buffer {
  const commands = [
    `MAIL FROM:<${sender}>\r\n`,
    ...recipients.map((recipient) => `RCPT TO:<${recipient}>\r\n`),
    'DATA\r\n',
  ];
  return Buffer.concat([Buffer.from(commands.join('')), lmtpData(Buffer.from(message), eximId)]);
}

/** The data of a message: the line of its id, CRLF, doubled dots and the closing dot, after RFC 5321 and nothing of ours. */
export function lmtpData(message: Buffer, eximId?: string): Buffer {
  const text = message.toString('latin1');
  const end = text.startsWith('\n') ? 0 : text.indexOf('\n\n') + 1 || text.length;
  const line = eximId === undefined ? '' : `X-Appengine-Mailer-Exim-Id: ${eximId}\n`;
  const whole = text.slice(0, end) + line + text.slice(end);
  const stuffed = whole.replace(/(^|\n)\./g, '$1..').replaceAll('\n', '\r\n');
  return Buffer.from(`${stuffed}.\r\n`, 'latin1');
}

/** A client on the socket of an LMTP server, which says what it is told to. */
export class LmtpClient {
  readonly socket: Socket;
  #text = '';
  readonly #closed: Promise<unknown>;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => (this.#text += text));
    socket.on('error', () => {}); // The test sees what came.
    this.#closed = once(socket, 'close').catch(() => {});
  }

  static async open(t: TestContext, path: string): Promise<LmtpClient> {
    const socket = connect({ path });
    t.after(() => socket.destroy());
    const client = new LmtpClient(socket);
    await inTime(once(socket, 'connect'), () => `no connection to ${path}`);
    return client;
  }

  /** What the server has said, all of it. */
  get text(): string {
    return this.#text;
  }

  say(text: Buffer | string): void {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }

  /** Waits until the server has said so, `times` times. */
  async hears(pattern: RegExp, times = 1): Promise<string[]> {
    const all = new RegExp(pattern.source, 'gm');
    const found = () => [...this.#text.matchAll(all)].map(([line]) => line);
    const heard = (async () => {
      while (found().length < times) await once(this.socket, 'data');
    })();
    await inTime(heard, () => `${pattern}, ${times} times: ${this.#text}`);
    return found();
  }

  /** Says no more, and waits until the server has closed; returns all that it has said. */
  async end(text: Buffer | string = ''): Promise<string> {
    this.socket.end(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
    return this.closed();
  }

  /** Waits until the connection is closed, for so long at most; returns all that the server has said. */
  async closed(withinMs?: number): Promise<string> {
    await inTime(this.#closed, () => `not closed: ${this.#text}`, withinMs);
    return this.#text;
  }
}

/** An LMTP server of the test's own, as it is built. */
export class Intake {
  readonly program: Program;
  readonly socket: string;
  readonly #t: TestContext;

  private constructor(t: TestContext, program: Program, socket: string) {
    this.#t = t;
    this.program = program;
    this.socket = socket;
  }

  /** Starts it on a socket in a folder, and waits until it listens. */
  static async start(
    t: TestContext,
    { folder, spool = join(folder, 'spool'), args = [], env = {}, inside }: IntakeOptions,
  ): Promise<Intake> {
    const socket = join(folder, 'intake.sock');
    const words = ['intake', '--socket', socket, '--spool', spool, ...args];
    const program = inside
      ? start(t, ...inside(process.execPath, bundledProgram, ...words), { env })
      : appengineMailer(t, words, { env });
    await program.says(/^intake takes mail on/m);
    chmodSync(socket, 0o666); // For Exim, whose account is in no group of ours.
    return new Intake(t, program, socket);
  }

  async client(): Promise<LmtpClient> {
    return LmtpClient.open(this.#t, this.socket);
  }

  /** Hands messages over in one connection, and returns what the server has said until it has closed. */
  async hear(...mails: LmtpMail[]): Promise<string> {
    const client = await this.client();
    const all = [Buffer.from('LHLO client.example\r\n'), ...mails.map(lmtpMail)];
    return client.end(Buffer.concat([...all, Buffer.from('QUIT\r\n')]));
  }

  /** The same, to the end; returns the replies about the messages, one a recipient. */
  async take(...mails: LmtpMail[]): Promise<string[]> {
    const text = await this.hear(...mails);
    assert.match(text, /\r\n221 2\.0\.0 goodbye\r\n$/);
    return text.split('\r\n').filter((line) => /^\d{3} .*queued|^4/.test(line));
  }
}

interface IntakeOptions {
  folder: string;
  spool?: string;
  args?: string[];
  env?: NodeJS.ProcessEnv;
  /** Makes a command line one that sees the spool's disk. */
  inside?: Inside;
}
