import { isIP, type Socket } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
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
    secureContext: contextOf(ca),
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

/** One for all connections that trust the same: reading the certificates of 150 authorities takes 20 ms, and 1 MB. */
function contextOf(ca: string[] | undefined): SecureContext {
  const known = ca ? contexts.get(ca) : usual;
  if (known) return known;
  const context = createSecureContext(ca && { ca });
  if (ca) contexts.set(ca, context);
  else usual = context;
  return context;
}

const contexts = new WeakMap<string[], SecureContext>();
let usual: SecureContext | undefined;
