import { readSync } from 'node:fs';
import { limits } from '../limits.ts';

/**
 * The chunks of a blocking descriptor until its end. Each is good until the next is asked for, and all
 * but the last are full, however little the writer writes at a time. Reading synchronously spares the
 * program, which starts anew for each message, the start-up of Node's streams.
 */
export function* readInput(fd: number): Generator<Buffer> {
  const buffer = Buffer.allocUnsafe(limits.inputBytes);
  for (;;) {
    let length = 0;
    let read: number;
    do {
      read = readWhenReady(fd, buffer.subarray(length));
      length += read;
    } while (read > 0 && length < limits.inputBytes);
    yield buffer.subarray(0, length);
    if (read === 0) return;
  }
}

/** Who writes may have made the descriptor non-blocking for both ends: then wait a little. */
function readWhenReady(fd: number, buffer: Buffer): number {
  for (;;) {
    try {
      return readSync(fd, buffer);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOF') return 0;
      if (code !== 'EAGAIN' && code !== 'EINTR') throw error;
      Atomics.wait(pause, 0, 0, limits.inputPollMs);
    }
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));
