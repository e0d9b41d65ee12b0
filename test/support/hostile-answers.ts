import type { ServerResponse } from 'node:http';
import type { Random } from './random.ts';
import type { Received, Script } from './scripted-proxy.ts';

/** An answer that no sound proxy gives, by a name for the reader of a failed test. */
export interface HostileAnswer {
  name: string;
  give: Script;
}

/** Every status of HTTP but 200, and some invalid ones; 1xx come before an answer and are not one. */
const STATUSES = [
  [201, 202, 204, 206, 226, 299, 300, 301, 302, 303, 304, 307, 308],
  [400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418],
  [421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499],
  [500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 520, 529, 599],
].flat();

const status = (code: number, headers: Record<string, string> = {}): HostileAnswer => ({
  name: `${code} ${Object.values(headers).join()}`,
  give: ({ response }) => void response.writeHead(code, headers).end(),
});

const bytes = (name: string, text: string): HostileAnswer => ({
  name,
  give: ({ request: { socket } }) => void socket.end(text, 'latin1'),
});

/** Signed with the right key, and 200: what is wrong is what it says. */
const signed = (name: string, body: (post: Received) => unknown): HostileAnswer => ({
  name: `a signed 200 with ${name}`,
  give: (post) => post.signed(200, Buffer.from(JSON.stringify(body(post)))),
});

const refusal = { status: '5.1.1', reason: 'no such user' };
const refused = (recipients: readonly string[]) =>
  recipients.map((recipient) => ({ recipient, ...refusal }));

/** All of law 5's table but what only time ends: wrong, huge, endless and cut answers. */
export const hostileAnswers: readonly HostileAnswer[] = [
  ...STATUSES.map((code) => status(code)),
  ...[301, 307, 308].map((code) => status(code, { location: 'http://127.0.0.1:1/' })),
  ...[
    '0',
    '120',
    '600',
    '99999999999999999999',
    '-5',
    'Mon, 01 Jan 2125 00:00:00 GMT',
    'soon',
  ].flatMap((when) => [429, 503].map((code) => status(code, { 'retry-after': when }))),
  signed('nothing', () => null),
  signed('a number', () => 551),
  signed('no verdicts', ({ id }) => ({ id })),
  signed('verdicts on another message', ({ recipients }) => ({
    id: 'another',
    verdicts: refused(recipients),
  })),
  signed('verdicts on more recipients', ({ id, recipients }) => ({
    id,
    verdicts: refused([...recipients, 'x@y']),
  })),
  signed('invalid verdicts', ({ id }) => ({ id, verdicts: [null] })),
  signed('a verdict of no class', ({ id, recipients: [recipient = ''] }) => ({
    id,
    verdicts: [{ recipient, ...refusal, status: '6.1.1' }],
  })),
  signed('verdicts on another recipient', ({ id }) => ({ id, verdicts: refused(['x@y']) })),
  {
    name: 'a signed 200 that is not JSON',
    give: (post) => post.signed(200, Buffer.from([0x35, 0xff, 0x00])),
  },
  {
    name: 'a signed 401: the clock is wrong',
    give: (post) => post.signed(401, Buffer.from('off'), { timestamp: 9_999_999_999 }),
  },
  {
    name: 'a 200 for another id',
    give: (post) => {
      const verdicts = { id: 'x', verdicts: refused(post.recipients) };
      post.signed(200, Buffer.from(JSON.stringify(verdicts)), { id: 'x' });
    },
  },
  {
    name: 'refusals without a signature',
    give: ({ id, recipients, response }) =>
      void response.end(JSON.stringify({ id, verdicts: refused(recipients) })),
  },
  {
    name: 'HTML',
    give: ({ response }) =>
      void response.setHeader('content-type', 'text/html').end('<h1>551 no such user</h1>'),
  },
  bytes('SSH', 'SSH-2.0-OpenSSH_9\r\n'),
  bytes('SMTP', '551 5.1.1 no such user\r\n'),
  bytes('HTTP of 1991', 'no such user'),
  bytes('an answer of another version', 'HTTP/9.9 200 OK\r\n\r\n'),
  bytes('a body that is cut', 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id":'),
  bytes('chunks that are cut', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{'),
  bytes('two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx'),
  bytes('two answers', 'HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n'.repeat(2)),
  bytes('an interim answer only', 'HTTP/1.1 100 Continue\r\n\r\n'),
  { name: 'nothing, and a close', give: ({ request }) => void request.socket.end() },
  { name: 'a reset', give: ({ request }) => void request.socket.resetAndDestroy() },
  { name: 'endless headers', give: (post) => pour(raw(post), `X-More: ${'x'.repeat(1000)}\r\n`) },
  { name: 'an endless body', give: ({ response }) => pour(response, 'x'.repeat(1_000_000)) },
];

/** The same answers again and again, each time in another order. */
export function hostileDeck(random: Random, answers = hostileAnswers): () => HostileAnswer {
  let deck: HostileAnswer[] = [];
  return () => {
    if (deck.length === 0) deck = [...answers];
    const [answer = answers[0]] = deck.splice(random.below(deck.length), 1);
    if (!answer) throw new Error('no answers are given');
    return answer;
  };
}

function raw({ request }: Received) {
  request.socket.write('HTTP/1.1 200 OK\r\n');
  return request.socket;
}

function pour(to: Pick<ServerResponse, 'write' | 'destroyed'>, piece: string): void {
  // After the client's end each write fails at once: going on would be a loop without an end.
  const more = (failed?: Error | null) => {
    if (!failed && !to.destroyed) to.write(piece, more);
  };
  more();
}
