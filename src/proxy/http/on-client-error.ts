import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * Node's `clientError`: answers bytes that are not a whole HTTP request, and closes the connection. While a request that
 * came before on the same connection is being answered, only that answer is sent. `unanswered` has the responses of the
 * connection that are not sent yet, the oldest first, also that to the request that could not be read to its end.
 */
export function onClientError(
  { code }: NodeJS.ErrnoException,
  socket: Duplex,
  unanswered: readonly ServerResponse[],
): void {
  const last = unanswered.findLast(({ req }) => req.complete);
  if (last) {
    last.shouldKeepAlive = false;
    return;
  }
  const status = STATUSES[code ?? ''] ?? 400;
  const text = STATUS_CODES[status] ?? '';
  if (socket.writable && !unanswered.some(({ headersSent }) => headersSent)) {
    socket.write(
      `HTTP/1.1 ${status} ${text}\r\nConnection: close\r\nContent-Type: text/plain\r\n` +
        `Content-Length: ${text.length}\r\n${status === 405 ? `Allow: ${ALLOWED}\r\n` : ''}\r\n${text}`,
    );
  }
  socket.destroy();
}

/** The methods that the proxy answers. */
export const ALLOWED = 'GET, HEAD, POST';

/** The statuses for errors of Node's parser; all others are 400. */
const STATUSES: Partial<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
  HPE_INVALID_METHOD: 405,
};
