import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { ApiHost } from '../../src/proxy/backends/appengine/call-api.ts';
import { decodeFields, encodeField } from '../../src/proxy/backends/appengine/protobuf.ts';

/** A call as it came, read. */
export interface ReceivedCall {
  service: string;
  method: string;
  ticket: string;
  message: ReceivedMessage;
}

/** MailMessage, with the names of Google's mail_service.proto. */
export interface ReceivedMessage {
  Sender: string[];
  ReplyTo: string[];
  To: string[];
  Cc: string[];
  Bcc: string[];
  Subject: string[];
  TextBody: string[];
  HtmlBody: string[];
  Attachment: { FileName: string; Data: Buffer; ContentID: string[] }[];
  Header: [string, string][];
}

/**
 * An answer: remote_api.Response, another answer of HTTP, or none: `cut` closes, `bare` after a header of
 * HTTP that announces no body, `hang` says nothing.
 */
export type ApiReply = Buffer | { status: number } | 'cut' | 'bare' | 'hang';

/** App Engine's API host on loopback, which answers as its script says; that may change at any time. */
export class ScriptedApiHost {
  script: (call: ReceivedCall) => ApiReply | Promise<ApiReply> = () => SENT;
  readonly calls: ReceivedCall[] = [];
  /** Request lines and headers, one element a call. */
  readonly requests: { line: string; headers: IncomingHttpHeaders }[] = [];
  readonly host: ApiHost;
  readonly #close: () => void;

  private constructor(port: number, close: () => void) {
    this.host = { host: '127.0.0.1', port };
    this.#close = close;
  }

  static async start(t: TestContext): Promise<ScriptedApiHost> {
    const sockets = new Set<Socket>();
    const server = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      const answer = async () => {
        const { method, url, headers } = request;
        scripted.requests.push({ line: `${method} ${url}`, headers });
        const call = readCall(Buffer.concat(pieces));
        scripted.calls.push(call);
        const reply = await scripted.script(call);
        if (reply === 'cut') request.socket.destroy();
        else if (reply === 'bare') request.socket.end('HTTP/1.1 200 OK\r\n\r\n');
        else if (Buffer.isBuffer(reply)) response.end(reply);
        else if (reply !== 'hang') response.writeHead(reply.status).end('not protobuf');
      };
      request.on('end', () => void answer());
    });
    server.on('connection', (socket) => sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const scripted = new ScriptedApiHost((server.address() as AddressInfo).port, () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    t.after(() => scripted.close());
    return scripted;
  }

  /** From now on nobody listens. */
  close(): void {
    this.#close();
  }

  /** What a proxy finds in its environment. */
  get environment(): Record<string, string> {
    return { API_HOST: this.host.host, API_PORT: String(this.host.port) };
  }
}

/** VoidProto, as Google answers when the Mail API took a message. */
export const SENT = encodeField(1, '');

/** Response.application_error. */
export function applicationError(code: number, detail: string): Buffer {
  return encodeField(3, errorOf(code, detail));
}

/** Response.rpc_error; its detail is optional. */
export function rpcError(code: number, detail?: string): Buffer {
  return encodeField(5, errorOf(code, detail));
}

/** Response.exception, pickled in Python. */
export const EXCEPTION = encodeField(2, 'cexceptions\nException\n');

function errorOf(code: number, detail?: string): Buffer {
  const rest = detail === undefined ? [] : [encodeField(2, detail)];
  return Buffer.concat([Buffer.from([0x08, code]), ...rest]);
}

/** Reads a remote_api.Request with a MailMessage; fields that are not known fail the test. */
export function readCall(body: Buffer): ReceivedCall {
  const request = read(body, [2, 3, 4, 5]);
  const message = read(request(4)[0], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const texts = (number: number) => message(number).map(String);
  return {
    service: String(request(2)[0]),
    method: String(request(3)[0]),
    ticket: String(request(5)[0]),
    message: {
      Sender: texts(1),
      ReplyTo: texts(2),
      To: texts(3),
      Cc: texts(4),
      Bcc: texts(5),
      Subject: texts(6),
      TextBody: texts(7),
      HtmlBody: texts(8),
      Attachment: message(9).map((bytes) => {
        const attachment = read(bytes, [1, 2, 3]);
        return {
          FileName: String(attachment(1)[0]),
          Data: Buffer.from(attachment(2)[0] ?? ''),
          ContentID: attachment(3).map(String),
        };
      }),
      Header: message(10).map((bytes) => {
        const header = read(bytes, [1, 2]);
        return [String(header(1)[0]), String(header(2)[0])];
      }),
    },
  };
}

function read(bytes: Buffer | undefined, known: number[]): (number: number) => Buffer[] {
  const fields = decodeFields(bytes ?? Buffer.alloc(0));
  const unknown = [...fields.keys()].filter((number) => !known.includes(number));
  if (unknown.length > 0) throw new Error(`unknown fields ${unknown.join()}`);
  return (number) => (fields.get(number) ?? []) as Buffer[];
}
