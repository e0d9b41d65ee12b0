import { randomBytes } from 'node:crypto';
import { request, type Agent, type IncomingHttpHeaders } from 'node:http';
import { encodeFrame, v2Type } from '../../src/wire/frame.ts';
import { keyHint, sign, verify } from '../../src/wire/sign.ts';

/** A post of HTTP v2; what is left out is made up. */
export interface SignedPost {
  key: string;
  id?: string;
  /** Unix seconds. */
  timestamp?: number;
  sender?: string;
  recipients?: readonly string[];
  bytes?: Buffer | string;
  /** Instead of a frame of the above. */
  body?: Buffer;
  /** Instead of the headers that belong to it; undefined leaves one out. */
  headers?: Record<string, string | undefined>;
  agent?: Agent;
}

/** An answer; `signedBy` says whether it is signed with that key for that id. */
export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  signedBy(key: string, id: string): boolean;
}

/** The headers and body of a post. */
export function encodePost(post: SignedPost): { headers: Record<string, string>; body: Buffer } {
  const { key, id = randomBytes(16).toString('hex'), sender = 's@example.com' } = post;
  const { recipients = ['r@example.org'], bytes = 'Subject: x\n\nHello\n' } = post;
  const timestamp = String(post.timestamp ?? Math.floor(Date.now() / 1000));
  const frame = encodeFrame({ sender, recipients: [...recipients] });
  const body = post.body ?? Buffer.concat([frame, Buffer.from(bytes)]);
  const headers: Record<string, string | undefined> = {
    'content-type': v2Type,
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': sign(Buffer.from(key), { id, timestamp, body: [body] }),
    'appengine-mailer-key-hint': keyHint(Buffer.from(key)),
    ...post.headers,
  };
  const given = Object.entries(headers).filter((header) => header[1] !== undefined);
  return { headers: Object.fromEntries(given) as Record<string, string>, body };
}

/** Posts to a proxy at HOST:PORT. */
export async function signedPost(address: string, post: SignedPost): Promise<HttpAnswer> {
  const { headers, body } = encodePost(post);
  const options = post.agent ? { agent: post.agent } : {};
  return exchange(address, { method: 'POST', headers, body, ...options });
}

/** Any HTTP exchange with a server at HOST:PORT. */
export async function exchange(
  address: string,
  {
    method = 'GET',
    path = '/',
    headers = {},
    body = Buffer.alloc(0),
    agent,
  }: {
    method?: string;
    path?: string;
    headers?: Record<string, string>;
    body?: Buffer;
    agent?: Agent;
  },
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request(`http://${address}${path}`, { method, headers, agent });
    sent.on('error', reject);
    sent.on('response', (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => resolve(answerOf(response.statusCode, response.headers, pieces)));
    });
    sent.end(body);
  });
}

function answerOf(status = 0, headers: IncomingHttpHeaders, pieces: Buffer[]): HttpAnswer {
  const body = Buffer.concat(pieces);
  const header = (name: string) => String(headers[name] ?? '');
  return {
    status,
    headers,
    body,
    signedBy(key, id) {
      const timestamp = header('webhook-timestamp');
      const ours =
        header('webhook-id') === id && Math.abs(Number(timestamp) - Date.now() / 1000) < 60;
      const signature = header('webhook-signature');
      return (
        ours && verify([Buffer.from(key)], signature, { id, timestamp, body: [body] }) !== undefined
      );
    },
  };
}
