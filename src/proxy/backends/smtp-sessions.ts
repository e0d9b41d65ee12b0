import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { SMTPConnectionAuth } from 'nodemailer/lib/smtp-connection';
import { SmtpConnection } from '../../host/smtp-connection.ts';
import { smtpStep } from '../../host/smtp-step.ts';
import { limits } from '../../mail/limits.ts';

/** The relay, how to talk to it, and who we are there. */
export interface SmtpRelay {
  host: string;
  port: number;
  /** STARTTLS and TLS are required, and the certificate is verified. */
  security: 'starttls' | 'tls' | 'none';
  /** Certificate authorities (PEM) to trust instead of Node's own. */
  ca: string[] | undefined;
  /** What we call ourselves in EHLO; without it the machine's name. */
  name: string | undefined;
  /** How to log in. */
  auth: SMTPConnectionAuth | undefined;
}

/** A connection on which messages can be sent, one after the other. */
export interface SmtpSession {
  connection: SmtpConnection;
  /** What the server offers, in capitals (RFC 5321 4.1.1.1). */
  extensions: ReadonlySet<string>;
  /** Transactions it has had. */
  used: number;
  /** Closes it when it has been idle for long. */
  idle?: NodeJS.Timeout;
}

/**
 * Keeps connections to the relay for the messages that follow. (nodemailer's own pool does not tell what
 * a connection's server offers before it sends, and waits a tenth of a second at every change.)
 */
export class SmtpSessions {
  readonly #relay: SmtpRelay;
  #idle: SmtpSession[] = [];
  #places: number = limits.smtpConnections;
  readonly #waiting: (() => void)[] = [];

  constructor(relay: SmtpRelay) {
    this.#relay = relay;
  }

  /** A session for one transaction: one that was used before, or a new one. Rejects when there is none. */
  async take(giveUp: AbortSignal): Promise<SmtpSession> {
    giveUp.throwIfAborted(); // It would wait for a signal that has passed.
    await this.#place(giveUp);
    for (;;) {
      const session = this.#idle.pop();
      if (!session) break;
      clearTimeout(session.idle);
      if (!session.connection.destroyed) return session;
    }
    try {
      return await openSession(this.#relay, giveUp);
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  /** Takes a session back after a transaction; `reset` when the server may still have its envelope. */
  async giveBack(session: SmtpSession, { reset }: { reset: boolean }): Promise<void> {
    const { connection } = session;
    session.used += 1;
    try {
      if (connection.destroyed) return;
      if (reset) await smtpStep<boolean>(connection, (done) => connection.reset(done));
      if (session.used < limits.smtpMessages) this.#keep(session);
      else connection.quit();
    } catch {
      connection.close();
    } finally {
      this.#leave();
    }
  }

  #keep(session: SmtpSession): void {
    session.idle = setTimeout(() => {
      this.#idle = this.#idle.filter((each) => each !== session);
      if (!session.connection.destroyed) session.connection.quit();
    }, limits.smtpIdleMs).unref();
    this.#idle.push(session);
  }

  async #place(giveUp: AbortSignal): Promise<void> {
    if (this.#places > 0) {
      this.#places -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(new Error(`all ${limits.smtpConnections} connections are busy`));
      };
      const enter = () => {
        giveUp.removeEventListener('abort', abort);
        resolve();
      };
      this.#waiting.push(enter);
      giveUp.addEventListener('abort', abort, { once: true });
    });
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#places += 1;
  }
}

async function openSession(relay: SmtpRelay, giveUp: AbortSignal): Promise<SmtpSession> {
  const { host, port, security, ca, name, auth } = relay;
  const connection = new SmtpConnection({
    connection: await openSocket(host, port, giveUp),
    host,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'none',
    greetingTimeout: limits.smtpGreetingMs,
    connectionTimeout: limits.smtpMs,
    socketTimeout: limits.smtpMs,
    socketCloseTimeout: 0,
    maxResponseSize: limits.smtpReplyBytes,
    ...(ca && { tls: { ca } }),
    ...(name && { name }),
  });
  connection.on('error', () => {}); // Whom it concerns listens too; an idle one's loss is no trouble.
  try {
    await smtpStep<void>(connection, (done) => connection.connect(done), giveUp);
    const extensions = extensionsOf(connection.lastServerResponse || '');
    if (auth) {
      // A copy: nodemailer writes into it.
      await smtpStep<boolean>(connection, (done) => connection.login({ ...auth }, done), giveUp);
    }
    return { connection, extensions, used: 0 };
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** Ours, and not nodemailer's, because it would ask DNS and pass over /etc/hosts. */
async function openSocket(host: string, port: number, giveUp: AbortSignal): Promise<Socket> {
  const socket = connect({ host, port });
  socket.setTimeout(limits.connectMs, () =>
    socket.destroy(new Error(`no connection within ${limits.connectMs / 1000} s`)),
  );
  try {
    await once(socket, 'connect', { signal: giveUp });
    return socket.setTimeout(0);
  } catch (error) {
    socket.destroy();
    throw giveUp.aborted ? giveUp.reason : error;
  }
}

function extensionsOf(ehlo: string): Set<string> {
  const lines = ehlo.split('\n').slice(1);
  return new Set(lines.map((line) => line.slice(4).split(' ')[0]?.toUpperCase() ?? ''));
}
