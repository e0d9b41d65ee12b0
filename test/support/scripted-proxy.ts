import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { TestContext } from 'node:test';
import {
  bundlesHeader,
  bundleType,
  decodeBundle,
  encodeAnswers,
  encodePart,
  type BundledPost,
} from '../../src/wire/bundle.ts';
import { decodeFrame, type QueueReport } from '../../src/wire/frame.ts';
import { sign } from '../../src/wire/sign.ts';
import { encodeVerdicts, type Verdict } from '../../src/wire/verdicts.ts';
import { inTime } from './in-time.ts';

interface Answer {
  /** Seconds since 1970 that the answer is signed with; now unless told otherwise. */
  timestamp?: number;
  headers?: Record<string, string>;
  /** The id that the answer is signed for; that of the post unless told otherwise. */
  id?: string;
}

/** A post as a scripted proxy received it, which the script answers. */
export class Received {
  readonly id: string;
  readonly timestamp: string;
  readonly sender: string;
  readonly recipients: string[];
  readonly fixSender: boolean;
  readonly ask: boolean;
  /** The ledger that the post is for. */
  readonly ledger: string | undefined;
  readonly queue: QueueReport | undefined;
  readonly bytes: Buffer;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The key that answers are signed with. */
  readonly key: string;
  /** The ledger that answers tell, and whether they tell of bundles. */
  readonly #shown: string | undefined;
  readonly #takesBundles: boolean;

  constructor(
    { key, ledger: shown, bundle }: Pick<ScriptedProxy, 'key' | 'ledger' | 'bundle'>,
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer,
  ) {
    const { envelope, fixSender, ask, ledger, queue, bytes } = decodeFrame(body);
    this.key = key;
    this.#shown = shown;
    this.#takesBundles = bundle !== undefined;
    this.ledger = ledger;
    this.id = String(request.headers['webhook-id']);
    this.timestamp = String(request.headers['webhook-timestamp']);
    this.sender = envelope.sender;
    this.recipients = envelope.recipients;
    this.fixSender = fixSender;
    this.ask = ask;
    this.queue = queue;
    this.bytes = bytes;
    this.request = request;
    this.response = response;
  }

  /** Answers 200 with verdicts, well-formed and signed. */
  answer(verdictOf: (recipient: string) => Omit<Verdict, 'recipient'>): void {
    const verdicts = this.recipients.map((recipient) => ({ recipient, ...verdictOf(recipient) }));
    const headers = this.#takesBundles ? { [bundlesHeader]: 'yes' } : {};
    this.signed(200, encodeVerdicts(this.id, verdicts, { ledger: this.#shown }), { headers });
  }

  /** Answers 200: everything is sent. */
  accept(): void {
    this.answer(() => ({ status: '2.0.0', reason: 'sent' }));
  }

  /** Answers 200: everything is still being sent. */
  inProgress(): void {
    this.answer(() => ({ status: '4.4.0', reason: 'still at it', inProgress: true }));
  }

  /** Answers 429: the client is to post less. */
  slower(seconds: number): void {
    const headers = { 'retry-after': String(seconds), 'content-type': 'text/plain' };
    this.signed(429, Buffer.from('no room'), { headers });
  }

  /** Answers with any status and body, signed. */
  signed(
    status: number,
    body: Buffer,
    { timestamp: seconds = Math.floor(Date.now() / 1000), headers = {}, id = this.id }: Answer = {},
  ): void {
    const timestamp = String(seconds);
    this.response.writeHead(status, {
      'content-type': 'application/json',
      ...headers,
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': sign(Buffer.from(this.key), { id, timestamp, body: [body] }),
    });
    this.response.end(body);
  }
}

/** A bundle as a scripted proxy received it. */
export class ReceivedBundle {
  readonly id: string;
  readonly signature: string;
  readonly posts: readonly BundledPost[];
  readonly response: ServerResponse;
  readonly key: string;

  constructor(key: string, { headers }: IncomingMessage, response: ServerResponse, body: Buffer) {
    this.key = key;
    this.id = String(headers['webhook-id']);
    this.signature = String(headers['webhook-signature']);
    this.posts = decodeBundle(body);
    this.response = response;
  }

  /** Answers that some of the posts were sent, in a part of their own; a test may give it another key or id. */
  accept(posts: readonly BundledPost[], { key = this.key, id = this.id } = {}): void {
    const body = encodeAnswers(
      posts.map((post) => {
        const { recipients } = decodeFrame(post.body).envelope;
        const verdicts = recipients.map((recipient) => ({
          recipient,
          status: '2.0.0',
          reason: 'sent',
        }));
        const text = encodeVerdicts(post.id, verdicts);
        return { id: post.id, status: 200, retryAfter: 0, body: text };
      }),
    );
    this.part(body, { key, id });
  }

  /** Sends any bytes as a part, well-formed and signed. */
  part(body: Buffer, { key = this.key, id = this.id } = {}): void {
    const timestamp = String(Math.floor(Date.now() / 1000));
    const signature = sign(Buffer.from(key), { id, timestamp, body: [body] });
    this.response.write(encodePart({ timestamp, signature, body }));
  }
}

/** Answers a post in whatever way the test wants. */
export type Script = (post: Received) => void | Promise<void>;

/** A proxy that does what the test says, for answers that no sound proxy gives. */
export class ScriptedProxy {
  /** All that came but the probe that greets a new connection, which `greet` answers. */
  readonly posts: Received[] = [];
  greet: Script = (probe) => probe.accept();
  readonly key: string;
  /** The id of its ledger, which its answers tell where there is one. */
  ledger: string | undefined;
  script: Script;
  /** All bundles that came; without a script for them it is an older proxy, which takes none. */
  readonly bundles: ReceivedBundle[] = [];
  bundle: ((bundle: ReceivedBundle) => void) | undefined;
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
  ): Promise<[Received, ...Received[]]> {
    const received = new Promise<[Received, ...Received[]]>((resolve) => {
      const look = () => {
        const [first, ...others] = this.posts.filter(fits);
        if (!first || others.length + 1 < count) return;
        this.#waiting.delete(look);
        resolve([first, ...others]);
      };
      this.#waiting.add(look);
      look();
    });
    return inTime(
      received,
      () => `${count} posts of ${this.posts.length} that fit ${String(fits)}`,
    );
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch {
      return; // The client went away.
    }
    if (this.bundle && request.headers['content-type'] === bundleType) {
      const received = new ReceivedBundle(this.key, request, response, Buffer.concat(chunks));
      this.bundles.push(received);
      return this.bundle(received);
    }
    const post = new Received(this, request, response, Buffer.concat(chunks));
    const isFirst = !this.#greeted.has(request.socket);
    this.#greeted.add(request.socket);
    if (isFirst && post.recipients.length === 0) return this.greet(post);
    this.posts.push(post);
    for (const look of this.#waiting) look();
    await this.script(post);
  }
}
