import { createHmac } from 'node:crypto';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** What an original server sent on: of the headers it read only these. */
export interface SentOn {
  sender: string;
  to: string;
  /** The value of msg, decoded. */
  message: Buffer;
}

/** Another answer than the original's own: a status, with a text, or a broken connection. */
export type Fault = [status: number, text?: string] | 'reset';

/**
 * A v1 server, made from what the original does and without the product's code: HTTP/1.0, one
 * request a connection, the recipient from the first To and the sender from the first From, its texts
 * and its defects. `fault` is asked before a post that it would send on.
 */
export class OriginalServer {
  readonly sent: SentOn[] = [];
  /** The first To of each post whose signature was right. */
  readonly posts: string[] = [];
  gets = 0;
  fault: (to: string) => Fault | undefined = () => undefined;
  url = '';
  readonly #key: string;
  readonly #senders: RegExp;

  private constructor(key: string, senders: RegExp) {
    this.#key = key;
    this.#senders = senders;
  }

  static async start(
    t: TestContext,
    key: string,
    senders = /@example\.com>?$/,
  ): Promise<OriginalServer> {
    const original = new OriginalServer(key, senders);
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      void original.#serve(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    original.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    return original;
  }

  async #serve(socket: Socket): Promise<void> {
    let request = '';
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      request += chunk.toString('latin1');
      const [head, body] = split(request, '\r\n\r\n');
      const length = Number(/^content-length: *(\d+)$/im.exec(head)?.[1] ?? 0);
      if (body !== undefined && body.length >= length) {
        const answer = this.#answer(head, body);
        if (answer === 'reset') return void socket.resetAndDestroy();
        const [status, text = ''] = answer;
        const headers = `Content-Type: text/html; charset=utf-8\r\nContent-Length: ${text.length}`;
        return void socket.end(`HTTP/1.0 ${status} x\r\n${headers}\r\n\r\n${text}`);
      }
    }
  }

  #answer(head: string, body: string): Fault {
    const [method, path] = head.split(' ');
    if (path !== '/') return [404];
    if (method === 'GET') {
      this.gets += 1;
      return [200];
    }
    if (!/^content-type: *application\/x-www-form-urlencoded$/im.test(head)) {
      return [400, 'No message found'];
    }
    const fields = new Map(body.split('&').map((field) => split(field, '=') as [string, string]));
    const message = unquote(fields.get('msg') ?? '');
    if (message.length === 0) return [400, 'No message found'];
    const signature = unquote(fields.get('signature') ?? '').toString();
    if (signature === '') return [400, 'No signature found'];
    if (createHmac('sha1', this.#key).update(message).digest('base64') !== signature) {
      return [400, "Signature doesn't match"];
    }

    const [headers, text = ''] = split(message.toString('latin1'), /\r?\n\r?\n/);
    const field = (name: string) => new RegExp(`^${name}: *(.*)$`, 'im').exec(headers)?.[1]?.trim();
    const [sender, to, type] = [field('From'), field('To'), field('Content-Type') ?? 'text/plain'];
    this.posts.push(to ?? '');
    if (sender === undefined) return [400, 'No sender specified'];
    if (!this.#senders.test(sender)) return [400, `Unauthorized message sender '${sender}'`];
    if (to === undefined) return [400, 'No destination addresses specified'];
    // The defect that Bcc without Cc met.
    if (field('Bcc') !== undefined && field('Cc') === undefined) return [500];
    if (!type.startsWith('text/')) {
      return [400, `Google won't let us send content of type '${type}'`];
    }
    if (text.trim() === '') return [400, 'No message body specified'];
    const fault = this.fault(to);
    if (fault) return fault;
    this.sent.push({ sender, to, message });
    return [204];
  }
}

/** The text before and after the first separator; only the text when there is none. */
function split(text: string, separator: string | RegExp): [string, string?] {
  const [before = ''] = text.split(separator, 1);
  if (before.length === text.length) return [text];
  const length =
    typeof separator === 'string' ? separator.length : separator.exec(text)?.[0].length;
  return [before, text.slice(before.length + (length ?? 0))];
}

function unquote(text: string): Buffer {
  const plain = text.replaceAll('+', ' ');
  const bytes = plain.replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1');
}
