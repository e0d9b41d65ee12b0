import { setImmediate } from 'node:timers/promises';
import { limits } from '../limits.ts';

/** Lets other work run while many bytes are hashed, of one message or with many keys. */
export class Turns {
  #octets = 0;

  /** The bytes in slices, between which other work runs. */
  async *slices(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += limits.hashedAtOnceBytes) {
      const slice = bytes.subarray(at, at + limits.hashedAtOnceBytes);
      this.#octets += slice.length;
      if (this.#octets > limits.hashedAtOnceBytes) {
        this.#octets = slice.length;
        await setImmediate();
      }
      yield slice;
    }
  }
}
