import { randomBytes } from 'node:crypto';
import type { PostRequest } from './attempt.ts';

/**
 * A post without recipients, by which nothing is sent. It goes over a new connection: the question is whether
 * the proxy answers, and not whether a used connection still works.
 */
export function probe(): PostRequest {
  return { id: newId(), envelope: { sender: '', recipients: [] }, bytes: [], size: 0, fresh: true };
}

/** An id for a post that has none from the spool: 128 random bits. */
export function newId(): string {
  return randomBytes(16).toString('hex');
}
