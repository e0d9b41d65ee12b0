import { setImmediate } from 'node:timers/promises';
import { limits } from '../limits.ts';

/** Lets others have their turn while many bytes are hashed, be it of one message or with many keys. */
export class Turns {
  #octets = 0;

  /** The bytes in slices, with turns of others in between. */
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
