import type { Clock } from '../host/clock.ts';
import { newId } from '../host/new-id.ts';
import type { PostRequest } from './attempt.ts';

/**
 * A post without recipients, by which nothing is sent. It goes over a new connection: the question is whether
 * the proxy answers, and not whether a used connection still works.
 */
export function probe(clock: Clock): PostRequest {
  return {
    id: newId(clock),
    envelope: { sender: '', recipients: [] },
    bytes: [],
    size: 0,
    fresh: true,
  };
}
