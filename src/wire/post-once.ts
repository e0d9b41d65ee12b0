import { limits } from '../limits.ts';
import { attempt as attemptV2, ofRepeated, type PostRequest, type PostResult } from './attempt.ts';
import type { Connection } from './connection.ts';
import { attemptV1, SENT } from './v1/v1.ts';

/** The versions of the HTTP interface. */
export type Wire = 'v1' | 'v2';

/** Posts a message, or a probe, and returns what that came to. `stop` ends the waiting. Never rejects. */
export type PostOnce = (post: PostRequest, stop: AbortSignal) => Promise<PostResult>;

/**
 * Returns what posts over a connection by a version of the interface: one attempt, and a second when the
 * proxy finds our clock wrong and tells a time that was not used yet. One that is never content costs no more
 * requests than any other that is down. `v1Success`: the status by which a v1 server says that it sent,
 * besides 204.
 */
export function postOnceOver(
  connection: Connection,
  wire: Wire,
  v1Success: number = SENT,
): PostOnce {
  const attempt: PostOnce =
    wire === 'v1'
      ? async (post, stop) => attemptV1(connection, post, stop, v1Success)
      : async (post, stop) => attemptV2(connection, post, stop);
  return async (post, stop) => {
    const used = connection.clockOffsetMs;
    const result = await attempt(post, stop);
    const isNew = Math.abs(connection.clockOffsetMs - used) > limits.toleranceMs / 2;
    if (result.kind !== 'clock' || !isNew) return result;
    return ofRepeated(await attempt(post, stop), result.repeated);
  };
}

/**
 * Returns what posts to the first of several proxies to which a connection can be made, and from then on to the same one.
 * Another is tried only where nothing was sent. Fails as the last one.
 */
export function postOnceToFirst(proxies: readonly PostOnce[]): PostOnce {
  let left = proxies;
  return async (post, stop) => {
    let result: PostResult | undefined;
    for (const [place, postOnce] of left.entries()) {
      result = await postOnce(post, stop);
      if (isConnected(result)) left = [postOnce];
      else if (place < left.length - 1) continue;
      break;
    }
    return result ?? { kind: 'aborted' };
  };
}

function isConnected(result: PostResult): boolean {
  return result.kind !== 'network' || result.stage !== 'connecting' || result.repeated === true;
}
