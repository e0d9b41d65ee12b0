import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';

/** How long the relay takes for each step, in milliseconds; what is left out takes no time. */
export interface Pace {
  greeting?: number;
  mail?: number;
  rcpt?: number | ((recipient: string) => number);
  data?: number;
  dot?: number;
}

/** A relay on loopback that takes every message, each step after its time, and counts the copies. */
export class SlowRelay {
  readonly port: number;
  pace: Pace;
  /** Called when it begins to wait before a reply, with the time: for a test that moves the clock. */
  waits?: (ms: number) => void;
  /** Whether it offers PIPELINING: without, no step begins before the one before it was answered. */
  pipelining = true;
  /** How often each message arrived, by its Subject. */
  readonly copies = new Map<string, number>();
  /** Recipients of all that arrived. */
  readonly recipients: string[] = [];
  readonly #arrivals = new Set<() => void>();

  private constructor(port: number, pace: Pace) {
    this.port = port;
    this.pace = pace;
  }

  static async start(t: TestContext, pace: Pace = {}): Promise<SlowRelay> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket)).on('error', () => {}); // Programs are killed.
      relay.#serve(socket).catch(() => {});
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const relay = new SlowRelay((server.address() as AddressInfo).port, pace);
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return relay;
  }

  /** The options of a proxy that relays to it. */
  get options(): string[] {
    const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(this.port)];
    return ['--backend', 'smtp', ...relay, '--smtp-security', 'none'];
  }

  /** Copies beyond the first of each message. */
  get doubled(): number {
    return [...this.copies.values()].reduce((sum, copies) => sum + copies - 1, 0);
  }

  /** Waits until so many different messages have arrived. */
  async arrived(messages: number): Promise<void> {
    while (this.copies.size < messages) {
      await new Promise<void>((resolve) => {
        this.#arrivals.add(resolve);
      });
    }
  }

  async #serve(socket: Socket): Promise<void> {
    const reply = async (text: string, ms = 0) => {
      if (ms > 0) {
        await new Promise<void>((resolve) => {
          setTimeout(resolve, ms);
          this.waits?.(ms);
        });
      }
      if (socket.writable) socket.write(`${text}\r\n`);
    };
    await reply('220 slow.example ESMTP', this.pace.greeting);
    let inData = false;
    let subject = '';
    let recipients: string[] = [];
    for await (const line of createInterface({ input: socket })) {
      if (inData) {
        subject ||= /^Subject: (.*)/.exec(line)?.[1] ?? '';
        if (line !== '.') continue;
        inData = false;
        // It is taken before the answer: a client that does not wait for that has sent it.
        this.#take(subject, recipients);
        await reply('250 2.0.0 taken', this.pace.dot);
        continue;
      }
      const command = line.slice(0, 4).toUpperCase();
      if (command === 'EHLO') {
        await reply(
          `250-slow.example\r\n${this.pipelining ? '250-PIPELINING\r\n' : ''}250 8BITMIME`,
        );
      } else if (command === 'MAIL') {
        [subject, recipients] = ['', []];
        await reply('250 2.1.0 ok', this.pace.mail);
      } else if (command === 'RCPT') {
        const recipient = /<(.*)>/.exec(line)?.[1] ?? '';
        recipients.push(recipient);
        const { rcpt } = this.pace;
        await reply('250 2.1.5 ok', typeof rcpt === 'function' ? rcpt(recipient) : rcpt);
      } else if (command === 'DATA') {
        inData = true;
        await reply('354 go on', this.pace.data);
      } else if (command === 'QUIT') {
        await reply('221 bye');
        socket.end();
      } else await reply('250 ok');
    }
  }

  #take(subject: string, recipients: readonly string[]): void {
    this.copies.set(subject, (this.copies.get(subject) ?? 0) + 1);
    this.recipients.push(...recipients);
    for (const resolve of this.#arrivals) resolve();
    this.#arrivals.clear();
  }
}
