import { randomBytes } from 'node:crypto';
import type { PostRequest } from './attempt.ts';

/**
 * A post without recipients: nothing is sent by it. It asks whether the proxy is there, and not whether
 * one of our used connections is.
 */
export function probe(): PostRequest {
  return { id: newId(), envelope: { sender: '', recipients: [] }, bytes: [], size: 0, fresh: true };
}

/** An id for a post that has none from the spool: 128 random bits. */
export function newId(): string {
  return randomBytes(16).toString('hex');
}
