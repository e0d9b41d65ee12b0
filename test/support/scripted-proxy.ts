import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { decodeFrame } from '../../src/wire/frame.ts';
import { sign } from '../../src/wire/sign.ts';
import { encodeVerdicts, type Verdict } from '../../src/wire/verdicts.ts';
import { inTime } from './in-time.ts';

/** A post as a scripted proxy received it. */
export interface Received {
  id: string;
  timestamp: string;
  sender: string;
  recipients: string[];
  fixSender: boolean;
  ask: boolean;
  bytes: Buffer;
  request: IncomingMessage;
  response: ServerResponse;
}

/** Answers a post in whatever way the test wants. */
export type Script = (post: Received, proxy: ScriptedProxy) => void | Promise<void>;

/** A proxy that does what the test says, for answers that no sound proxy gives. */
export class ScriptedProxy {
  /** All that came but the probe that greets a new connection, which `greet` answers. */
  readonly posts: Received[] = [];
  greet: Script = (probe, proxy) => proxy.accept(probe);
  readonly key: string;
  script: Script;
  url = '';
  #waiting = new Set<() => void>();
  readonly #greeted = new WeakSet<Socket>();

  private constructor(key: string, script: Script) {
    this.key = key;
    this.script = script;
  }

  static async start(t: TestContext, key: string, script: Script): Promise<ScriptedProxy> {
    const proxy = new ScriptedProxy(key, script);
    const sockets = new Set<Socket>();
    const server = createServer((request, response) => void proxy.#receive(request, response));
    server.on('connection', (socket) => sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    return proxy;
  }

  /** Waits until so many posts that fit have come. */
  async received(
    count: number,
    fits: (post: Received) => boolean = () => true,
  ): Promise<Received[]> {
    const received = new Promise<Received[]>((resolve) => {
      const look = () => {
        const fitting = this.posts.filter(fits);
        if (fitting.length < count) return;
        this.#waiting.delete(look);
        resolve(fitting);
      };
      this.#waiting.add(look);
      look();
    });
    return inTime(
      received,
      () => `${count} posts of ${this.posts.length} that fit ${String(fits)}`,
    );
  }

  /** Answers 200 with verdicts, well-formed and signed. */
  answer(post: Received, verdictOf: (recipient: string) => Omit<Verdict, 'recipient'>): void {
    const verdicts = post.recipients.map((recipient) => ({ recipient, ...verdictOf(recipient) }));
    this.signed(post, 200, encodeVerdicts(post.id, verdicts));
  }

  /** Answers 200: everything is sent. */
  accept(post: Received): void {
    this.answer(post, () => ({ status: '2.0.0', reason: 'sent' }));
  }

  /** Answers 200: everything is still being sent. */
  inProgress(post: Received): void {
    this.answer(post, () => ({ status: '4.4.0', reason: 'still at it', inProgress: true }));
  }

  /** Answers 429: the client is to post less. */
  slower(post: Received, seconds: number): void {
    const now = Math.floor(Date.now() / 1000);
    this.signed(post, 429, Buffer.from('no room'), now, {
      'retry-after': String(seconds),
      'content-type': 'text/plain',
    });
  }

  /** Answers with any status and body, signed. */
  signed(
    post: Received,
    status: number,
    body: Buffer,
    timestamp = Math.floor(Date.now() / 1000),
    headers: Record<string, string> = {},
  ): void {
    const { id } = post;
    post.response.writeHead(status, {
      'content-type': 'application/json',
      ...headers,
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': sign(Buffer.from(this.key), {
        id,
        timestamp: String(timestamp),
        body: [body],
      }),
    });
    post.response.end(body);
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch {
      return; // The client went away.
    }
    const { envelope, fixSender, ask, bytes } = decodeFrame(Buffer.concat(chunks));
    const post = {
      id: String(request.headers['webhook-id']),
      timestamp: String(request.headers['webhook-timestamp']),
      ...envelope,
      fixSender,
      ask,
      bytes,
      request,
      response,
    };
    const isFirst = !this.#greeted.has(request.socket);
    this.#greeted.add(request.socket);
    if (isFirst && envelope.recipients.length === 0) return this.greet(post, this);
    this.posts.push(post);
    for (const look of this.#waiting) look();
    await this.script(post, this);
  }
}
