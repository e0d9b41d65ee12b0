import type { IncomingHttpHeaders } from 'node:http';

/**
 * App Engine's security ticket of a request, with which calls of its APIs are made while it is answered; or
 * what its development server gives for one. Anybody may send such a header: it means something to App
 * Engine's API host alone.
 */
export function ticketOf(headers: IncomingHttpHeaders): string | undefined {
  const ticket = headers['x-appengine-dev-request-id'] ?? headers['x-appengine-api-ticket'];
  return ticket === undefined ? undefined : String(ticket);
}
