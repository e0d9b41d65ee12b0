import type { Machine } from '../../../host/machine.ts';
import { SmtpClient } from '../../../host/net/smtp-client.ts';
import { limits } from '../../../limits.ts';
import { BackendBusyError } from '../backend.ts';
import { SmtpLogin, type SmtpAccount } from './smtp-login.ts';

/** The relay, how to connect to it, and our account there. */
export interface SmtpRelay {
  host: string;
  port: number;
  /** STARTTLS and TLS are required, and the certificate is verified. */
  security: 'starttls' | 'tls' | 'none';
  /** Certificate authorities (PEM) to trust instead of Node's own. */
  ca: string[] | undefined;
  /** The name of this machine for EHLO; undefined: the address of our end of the connection. */
  name: string | undefined;
  /** Undefined: we do not log in. */
  auth: SmtpAccount | undefined;
  /** The largest number of connections at once. */
  connectionsMax: number;
}

/** A connection on which messages can be sent, one after the other. */
export interface SmtpSession {
  client: SmtpClient;
  /** How many transactions it has had. */
  used: number;
  /** Whether it has been idle since it was opened: it may have died meanwhile. */
  wasIdle: boolean;
  /** Closes it when it has been idle for long. */
  idle?: () => void;
}

/** A delivery that waits for a session. */
interface Waiting {
  take(session: SmtpSession): void;
  fail(error: Error): void;
}

/**
 * Keeps connections to the relay for the messages that follow, and opens more while deliveries wait for one. A new
 * connection goes to the delivery that waits longest when it is ready, so that a slow greeting does not use up the time
 * of one delivery. (nodemailer's own pool does not tell before sending what the server of a connection offers, and waits
 * a tenth of a second at every change.)
 */
export class SmtpSessions {
  readonly #relay: SmtpRelay;
  readonly #machine: Machine;
  readonly #login: SmtpLogin | undefined;
  readonly #waiting: Waiting[] = [];
  #idle: SmtpSession[] = [];
  /** Connections that are in use, idle or being opened, and those of them that are being opened. */
  #connections = 0;
  #opening = 0;
  /** When one more connection may be tried after the relay has refused one: monotonic. */
  #openAt = -Infinity;

  constructor(relay: SmtpRelay, machine: Machine) {
    this.#machine = machine;
    this.#relay = relay;
    this.#login = relay.auth && new SmtpLogin(relay.auth, machine);
  }

  /**
   * A session for one transaction: one that was used before, or a new one. Rejects with BackendBusyError when
   * none was free before `giveUp`, and with the reason when none can be opened.
   */
  async take(giveUp: AbortSignal): Promise<SmtpSession> {
    for (let session = this.#idle.pop(); session; session = this.#idle.pop()) {
      session.idle?.();
      if (!session.client.destroyed) return session;
      this.#connections -= 1;
    }
    return new Promise((resolve, reject) => {
      const abort = () => {
        const place = this.#waiting.indexOf(waiting);
        if (place >= 0) this.#waiting.splice(place, 1);
        reject(new BackendBusyError('no connection to the relay was free in time'));
      };
      const waiting: Waiting = {
        take: (session) => {
          giveUp.removeEventListener('abort', abort);
          resolve(session);
        },
        fail: reject,
      };
      if (giveUp.aborted) return abort(); // It would wait for a signal that has passed.
      giveUp.addEventListener('abort', abort, { once: true });
      this.#waiting.push(waiting);
      this.#openMore();
    });
  }

  /** A new connection in place of one that had died. When that fails, it rejects and frees the place. */
  async renew({ client }: SmtpSession): Promise<SmtpSession> {
    client.close();
    try {
      return await this.#openSession();
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  /** Takes a session back after a transaction; `reset` when the server may still have its envelope. */
  async giveBack(session: SmtpSession, { reset = false } = {}): Promise<void> {
    const { client } = session;
    session.used += 1;
    if (reset && !client.destroyed) await client.reset().catch(() => client.close());
    if (!client.destroyed && session.used < limits.smtpMessages) {
      this.#offer(session);
      return;
    }
    if (!client.destroyed) client.quit();
    this.#leave();
  }

  #offer(session: SmtpSession): void {
    const waiting = this.#waiting.shift();
    if (waiting) {
      waiting.take(session);
      return;
    }
    session.wasIdle = true;
    session.idle = this.#machine.timer(
      limits.smtpIdleMs,
      () => {
        this.#idle = this.#idle.filter((each) => each !== session);
        if (!session.client.destroyed) session.client.quit();
        this.#leave();
      },
      { idle: true },
    );
    this.#idle.push(session);
  }

  #leave(): void {
    this.#connections -= 1;
    this.#openMore();
  }

  #openMore(): void {
    if (this.#connections > 0 && this.#machine.now() < this.#openAt) return;
    while (this.#opening < this.#waiting.length && this.#connections < this.#relay.connectionsMax) {
      this.#connections += 1;
      this.#opening += 1;
      void this.#open();
    }
  }

  async #open(): Promise<void> {
    try {
      const session = await this.#openSession();
      this.#opening -= 1;
      this.#offer(session);
    } catch (error) {
      this.#opening -= 1;
      this.#connections -= 1;
      // A relay that has connections of ours and takes no more is at its limit: deliveries wait for those.
      if (this.#connections > 0) {
        this.#openAt = this.#machine.now() + limits.smtpReopenMs;
        this.#machine.timer(limits.smtpReopenMs + 1, () => this.#openMore(), { idle: true });
      } else for (const waiting of this.#waiting.splice(0)) waiting.fail(error as Error);
    }
  }

  /** It is never cancelled: a connection that is ready too late for one delivery serves the next. */
  async #openSession(): Promise<SmtpSession> {
    const { auth: _, ...server } = this.#relay;
    const machine = this.#machine;
    const socket = await machine.connect(server, new AbortController().signal);
    const client = new SmtpClient({ ...server, socket, clock: machine });
    try {
      await client.connect();
      await this.#login?.over(client);
      return { client, used: 0, wasIdle: false };
    } catch (error) {
      client.close();
      throw error;
    }
  }
}
