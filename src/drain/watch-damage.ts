import { isUnreadable } from '../sqlite/is-corruption.ts';

/** Returns the same bytes of a message, and calls `damaged` when the spool turns out to have lost some. */
export function watchDamage(
  parts: Iterable<Buffer>,
  damaged: (fault: string) => void,
): Iterable<Buffer> {
  return {
    *[Symbol.iterator]() {
      try {
        yield* parts;
      } catch (error) {
        if (isUnreadable(error)) damaged(error.message);
        throw error;
      }
    },
  };
}
