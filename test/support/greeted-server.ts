import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { sign } from '../../src/wire/sign.ts';
import { encodeVerdicts } from '../../src/wire/verdicts.ts';
import { rawServer } from './raw-server.ts';

/**
 * A server that has the key as far as its first answer shows: it answers the probe that greets a connection
 * as a proxy does, and does with the request that follows whatever the test says.
 */
export async function greetedServer(
  t: TestContext,
  key: Buffer,
  connected: (socket: Socket, request: string) => void,
): Promise<{ url: URL; connections: Socket[] }> {
  return rawServer(t, (socket, probe) => {
    const id = /^webhook-id: (\S+)/m.exec(probe)?.[1] ?? '';
    socket.once('data', (data) => connected(socket, data.toString('latin1')));
    socket.write(signedAnswer(key, id, encodeVerdicts(id, [])));
  });
}

/** A 200 as it goes over the wire. */
export function signedAnswer(key: Buffer, id: string, body: Buffer): Buffer {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const head = [
    'HTTP/1.1 200 OK',
    'content-type: application/json',
    `content-length: ${body.length}`,
    `webhook-id: ${id}`,
    `webhook-timestamp: ${timestamp}`,
    `webhook-signature: ${sign(key, { id, timestamp, body: [body] })}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}
