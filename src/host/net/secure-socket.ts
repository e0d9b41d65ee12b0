import { isIP, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { ConnectError } from './connect-error.ts';

/** Whose certificate is expected. */
export interface Peer {
  host: string;
  /** PEM of the certificate authorities to trust instead of Node's own. */
  ca?: string[] | undefined;
}

/**
 * Makes a TLS connection for HTTP/1.1 of a TCP connection. The certificate is always verified, whatever
 * NODE_TLS_REJECT_UNAUTHORIZED says. Rejects with an Error that has a code of Node or OpenSSL, and then
 * the TCP connection is closed.
 */
export async function secureSocket(
  socket: Socket,
  { host, ca }: Peer,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const secure = connect({
    socket,
    host,
    servername: isIP(host) > 0 ? '' : host, // An IP address is not allowed in SNI (RFC 6066 3).
    ...(ca && { ca }),
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  });
  const silent = `${host} accepts the connection and does not answer in TLS`;
  const abort = () => secure.destroy(ConnectError.givenUp(signal, silent));
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await new Promise<TLSSocket>((resolve, reject) => {
      secure.once('secureConnect', () => resolve(secure));
      secure.on('error', reject); // It stays, as in connectSocket.
      if (signal.aborted) abort();
    });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
