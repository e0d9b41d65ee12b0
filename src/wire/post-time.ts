import { limits } from '../limits.ts';

/**
 * How long a post of so many bytes may take, in milliseconds. Its sender gives up then; the proxy, whose
 * clock starts a little later, never cuts it off before.
 */
export function postTimeMs(bytes: number): number {
  return limits.postMs + Math.ceil((bytes / limits.postBytesPerSecond) * 1000);
}
