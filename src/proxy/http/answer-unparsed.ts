import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * Answers what is not HTTP, or not to its end, and closes the connection. What came before it on the same connection, and is
 * still being dealt with, is answered first and nothing else; `unanswered` has the responses to that, the oldest first, and the
 * one to a request that could not be read to its end.
 */
export function answerUnparsed(
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

/** The methods that are understood. */
export const ALLOWED = 'GET, HEAD, POST';

/** Of the parser's errors; all others are 400. */
const STATUSES: Partial<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
  HPE_INVALID_METHOD: 405,
};
