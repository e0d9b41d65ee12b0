import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingHttpHeaders } from 'node:http';

/**
 * App Engine's security ticket of the request that is being answered; calls of App Engine's APIs need it. It is the
 * empty string outside of a request and for a request without one.
 */
export function requestTicket(): string {
  return tickets.getStore() ?? '';
}

/**
 * Runs `answer` with the ticket of a request, or with what App Engine's development server gives for one. The ticket
 * holds for all that `answer` begins, also when that goes on after the answer. Anybody may send such a header: it means
 * something only to App Engine's API host.
 */
export async function withTicketOf<T>(
  headers: IncomingHttpHeaders,
  answer: () => Promise<T>,
): Promise<T> {
  const ticket = headers['x-appengine-dev-request-id'] ?? headers['x-appengine-api-ticket'] ?? '';
  return tickets.run(String(ticket), answer);
}

const tickets = new AsyncLocalStorage<string>();
