import { limits } from '../limits.ts';
import {
  attempt as attemptV2,
  type PostResult,
  type Attempt,
  type PostRequest,
} from './attempt.ts';
import { attemptV1, SENT } from './v1/attempt-v1.ts';
import type { Connection } from './connection.ts';

/** The versions of the HTTP interface. */
export type Wire = 'v1' | 'v2';

/** Posts a message, or a probe, and says what came of it. `stop` ends the waiting. */
export type Poster = (post: PostRequest, stop: AbortSignal) => Promise<PostResult>;

/**
 * Posts over a connection by a version of the interface: one attempt, and a second when the proxy finds
 * our clock wrong and tells a time that was not used yet. One that is never content costs no more
 * requests than any other that is down. `v1Success`: by which status a server of v1 says that it sent,
 * besides 204.
 */
export function poster(connection: Connection, wire: Wire, v1Success: number = SENT): Poster {
  const attempts: Record<Wire, Attempt> = {
    v1: async (...post) => attemptV1(...post, v1Success),
    v2: attemptV2,
  };
  const attempt = attempts[wire];
  return async (post, stop) => {
    const used = connection.clockOffsetMs;
    const answer = await attempt(connection, post, stop);
    const isNew = Math.abs(connection.clockOffsetMs - used) > limits.toleranceMs / 2;
    return answer.kind === 'clock' && isNew ? attempt(connection, post, stop) : answer;
  };
}
