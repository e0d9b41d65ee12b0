import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import type { SmtpRelay } from '../../src/proxy/backends/smtp/smtp-sessions.ts';

/** The server of npm's smtp-server on loopback; what it takes is in `messages`. */
export async function npmSmtp(
  t: TestContext,
  options: SMTPServerOptions,
): Promise<{ messages: Buffer[]; relay: (but: Partial<SmtpRelay>) => SmtpRelay }> {
  const messages: Buffer[] = [];
  const server = new SMTPServer({
    disableReverseLookup: true,
    authOptional: true,
    onData(stream, _, callback) {
      const pieces: Buffer[] = [];
      stream.on('data', (piece: Buffer) => pieces.push(piece));
      stream.on('end', () => {
        messages.push(Buffer.concat(pieces));
        callback();
      });
    },
    ...options,
  });
  server.on('error', () => {}); // A client that breaks off is what some tests are about.
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    for (const connection of server.connections) connection.close();
    server.close();
  });
  const { port } = server.server.address() as AddressInfo;
  const relay = { host: '127.0.0.1', port, security: 'starttls' as const };
  return {
    messages,
    relay: (but) => ({
      ...relay,
      ca: undefined,
      name: undefined,
      auth: undefined,
      connectionsMax: 20,
      ...but,
    }),
  };
}
