import { limits } from '../mail/limits.ts';

/**
 * How long a backend may take for a message of so many bytes, in milliseconds, before its outcome counts
 * as unknown: less than its post may take (postTimeMs), so that the client is still there to hear.
 */
export function backendTimeMs(bytes: number): number {
  return limits.backendMs + Math.floor((bytes / limits.backendBytesPerSecond) * 1000);
}
