import { BackendUnavailable, type Backend } from '../../src/proxy/backend.ts';

/** A message for a backend; what is left out is made up. */
export interface Sending {
  sender?: string;
  recipients?: string[];
  bytes?: Buffer | string;
  timeUp?: AbortSignal;
}

/**
 * Has a backend send a message and tells in one line each what came of it: `ADDRESS STATUS REASON`, or
 * `unavailable: WHY`, or `unknown: WHY`.
 */
export async function sendWith(backend: Backend, sending: Sending = {}): Promise<string[]> {
  const { sender = 's@example.com', recipients = ['r@example.org'], bytes = 'x\n' } = sending;
  const { timeUp = new AbortController().signal } = sending;
  const delivery = { id: 'an-id', sender, recipients, bytes: Buffer.from(bytes) };
  try {
    const results = await backend(delivery, timeUp);
    return results.map((result) => {
      const { recipient } = result;
      if ('unknown' in result) return `${recipient} unknown ${result.unknown}`;
      return `${recipient} ${result.status} ${result.reason}`;
    });
  } catch (error) {
    const kind = error instanceof BackendUnavailable ? 'unavailable' : 'unknown';
    return [`${kind}: ${(error as Error).message}`];
  }
}
