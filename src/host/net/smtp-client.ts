import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type {
  SMTPConnectionAuth,
  SMTPConnectionSendInfo,
  SMTPError,
} from 'nodemailer/lib/smtp-connection';
import { limits } from '../../limits.ts';
import type { Clock } from '../clock.ts';
import { awakeTimer } from '../awake-timer.ts';
import { addressLiteral } from '../machine-names.ts';
import { SmtpConnection, type SmtpEnvelope } from './smtp-connection.ts';

export interface SmtpClientOptions {
  /** For its time limits. */
  clock: Clock;
  /** A connection to the server. */
  socket: Socket;
  host: string;
  /** STARTTLS and TLS are required, and the certificate is verified. */
  security: 'starttls' | 'tls' | 'none';
  /** Certificate authorities (PEM) to trust instead of Node's own. */
  ca?: string[] | undefined;
  /** What we call ourselves in EHLO; undefined: by the address of our end of the connection (RFC 5321 4.1.4). */
  name: string | undefined;
}

/** What came of a transaction. */
export interface SmtpSent {
  /** The last reply, or why there is none. */
  ended: SMTPConnectionSendInfo | SMTPError;
  /** Refusals of single recipients. */
  rejected: readonly SMTPError[];
  /**
   * How far it got: to the `envelope`; into the `message`, which was broken off; or its end may have reached
   * the server (`whole`).
   */
  stage: 'envelope' | 'message' | 'whole';
}

/**
 * An SMTP client on one connection (RFC 5321). The server has for each step the time of 4.5.3.2, from the
 * beginning of that step; after that the connection is cut. (nodemailer knows one limit for all, and counts
 * the time for connecting on the wall clock.)
 */
export class SmtpClient {
  /** What the server offers, in capitals (RFC 5321 4.1.1.1). */
  extensions: ReadonlySet<string> = new Set();
  readonly #connection: SmtpConnection;
  readonly #clock: Clock;
  /** Times for the replies to the commands that are on their way. */
  #due: number[] = [];
  #stopTimer = () => {};
  #lastReply: string | undefined;
  /** Fails the step that is under way. */
  #fail: ((error: Error) => void) | undefined;

  constructor({ clock, socket, host, security, ca, name }: SmtpClientOptions) {
    this.#clock = clock;
    this.#connection = new SmtpConnection({
      connection: socket,
      host,
      secure: security === 'tls',
      requireTLS: security === 'starttls',
      ignoreTLS: security === 'none',
      connectionTimeout: NEVER_MS,
      greetingTimeout: NEVER_MS,
      socketTimeout: NEVER_MS,
      socketCloseTimeout: 0,
      maxResponseSize: limits.smtpReplyBytes,
      tls: { rejectUnauthorized: true, ...(ca && { ca }) },
      name: name ?? addressLiteral(socket.localAddress ?? '127.0.0.1'), // It has one, unless it was closed.
      // It tells of commands and replies, as they go and come.
      transactionLog: true,
      logger: { debug: (entry: { tnx?: string }, text: string) => this.#log(entry, text) },
    });
    this.#connection.on('error', () => {}); // The step that it breaks tells of it.
  }

  get destroyed(): boolean {
    return this.#connection.destroyed;
  }

  /** The greeting, EHLO and TLS. */
  async connect(): Promise<void> {
    await this.#step<void>((done) => this.#connection.connect(done));
    const [, ...lines] = (this.#connection.lastServerResponse || '').split('\n');
    this.extensions = new Set(
      lines.map((line) => line.slice(4).split(' ')[0]?.toUpperCase() ?? ''),
    );
  }

  async login(auth: SMTPConnectionAuth): Promise<void> {
    // A copy: nodemailer writes into it.
    await this.#step<boolean>((done) => this.#connection.login({ ...auth }, done));
  }

  /** Ends a transaction on the server (RSET). */
  async reset(): Promise<void> {
    await this.#step<boolean>((done) => this.#connection.reset(done));
  }

  /** One transaction. Never rejects. */
  async send(envelope: SmtpEnvelope, message: Iterable<Buffer>): Promise<SmtpSent> {
    // nodemailer writes into the envelope which recipients were refused, also when it fails in the end.
    const written = { ...envelope, rejectedErrors: [] as SMTPError[] };
    const source = Readable.from(this.#message(message), { objectMode: false });
    source.once('end', () => this.#wait(limits.smtpDotMs));
    const ended = await this.#step<SMTPConnectionSendInfo>((done) =>
      this.#connection.send(written, source, done),
    ).catch((error: SMTPError) => error);
    // The closing dot follows the end of the source: once that was read, it may be on its way.
    const isBegun = source.readableDidRead || source.errored !== null;
    const stage = source.readableEnded ? 'whole' : isBegun ? 'message' : 'envelope';
    if (stage === 'message') this.close(); // The rest must not be taken for commands.
    return { ended, rejected: written.rejectedErrors, stage };
  }

  /** Says goodbye; the server has a while to answer. */
  quit(): void {
    this.#connection.quit();
    this.#clock.timer(limits.smtpQuitMs, () => this.close(), { idle: true });
  }

  /** Says goodbye and waits until the connection is closed. Rejects when the server has not answered 221. */
  async leave(): Promise<void> {
    if (this.destroyed) throw new Error('the connection was closed before QUIT');
    const closed = new Promise((resolve) => this.#connection.once('end', resolve));
    this.#lastReply = undefined;
    this.quit();
    await closed;
    const reply = this.#lastReply as string | undefined;
    if (reply === undefined) throw new Error('no answer to QUIT');
    if (!reply.startsWith('221')) throw new Error(`it answered "${reply}" to QUIT`);
  }

  close(): void {
    this.#connection.close();
  }

  /** Closes it; the step that is under way fails with this reason. */
  cut(reason: Error): void {
    const fail = this.#fail;
    this.close();
    fail?.(reason);
  }

  *#message(pieces: Iterable<Buffer>): Generator<Buffer> {
    // To nodemailer any 2xx is a 354: what refuses the lines of the message as commands would fail it.
    const reply = String(this.#connection.lastServerResponse);
    if (!reply.startsWith('354')) throw new Error(`it answered "${reply}" to DATA`);
    for (const piece of pieces) {
      this.#wait(limits.smtpBlockMs);
      yield piece;
    }
  }

  /** What nodemailer calls back with, its error event, or that the server took too long. */
  async #step<T>(begin: (done: (error?: Error | null, result?: T) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = (error?: Error | null, result?: T) => {
        this.#connection.removeListener('error', end);
        this.#stopTimer();
        this.#fail = undefined;
        if (error) reject(error);
        else resolve(result as T);
      };
      this.#fail = end;
      this.#due = [];
      this.#wait(limits.smtpCommandMs);
      this.#connection.once('error', end);
      begin(end);
    });
  }

  #wait(ms: number): void {
    if (!this.#fail) return; // What a server says between steps has no time limit.
    this.#stopTimer();
    this.#stopTimer = awakeTimer(
      ms,
      () => {
        this.cut(new Error(`no answer within ${Math.round(ms / 1000)} s`));
      },
      this.#clock,
    );
  }

  #log({ tnx }: { tnx?: string }, text: string): void {
    if (tnx === 'server') {
      this.#lastReply = text;
      this.#due.shift();
      this.#wait(this.#due[0] ?? limits.smtpCommandMs);
    }
    if (tnx === 'client') {
      const ms = text === 'DATA' ? limits.smtpDataMs : limits.smtpCommandMs;
      // A pipelined command is answered after those before it.
      if (this.#due.push(ms) === 1) this.#wait(ms);
    }
  }
}

/** nodemailer's own limits are not used; this is the longest time of a timer. */
const NEVER_MS = 2 ** 31 - 1;
