import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { encodePost, type SignedPost } from './signed-post.ts';

/** A post as it goes over the wire, in two pieces. */
export function wirePost(post: SignedPost): { head: string; body: Buffer } {
  const { headers, body } = encodePost(post);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n${lines.join('')}\r\n`;
  return { head, body };
}

/** A connection; what the other end says, until it closes, is `said`. */
export interface Wire {
  socket: Socket;
  said: Promise<string>;
}

/** Connects to HOST:PORT. */
export function wireTo(t: TestContext, address: string): Wire {
  const socket = connect(Number(address.split(':')[1]), '127.0.0.1');
  t.after(() => socket.destroy());
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  socket.on('error', () => {}); // A reset is a way to close.
  const said = new Promise<string>((resolve) => {
    socket.once('close', () => resolve(Buffer.concat(pieces).toString()));
  });
  return { socket, said };
}
