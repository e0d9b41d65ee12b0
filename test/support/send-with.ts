import {
  BackendBusyError,
  BackendUnavailableError,
  type Backend,
  type Delivery,
  type Result,
} from '../../src/proxy/backends/backend.ts';

/** A message for a backend; what is left out is made up. */
export interface Sending {
  sender?: string;
  recipients?: string[];
  bytes?: Buffer | string;
  giveUp?: AbortSignal;
}

/**
 * Has a backend send a message and tells in one line each what came of it: `ADDRESS STATUS REASON`, or
 * `busy: WHY`, `unavailable: WHY`, or `unknown: WHY`.
 */
export async function sendWith(backend: Backend, sending: Sending = {}): Promise<string[]> {
  const { sender = 's@example.com', recipients = ['r@example.org'], bytes = 'x\n' } = sending;
  const { giveUp = new AbortController().signal } = sending;
  const delivery = { key: '', id: 'an-id', sender, recipients, bytes: Buffer.from(bytes) };
  try {
    const results = await deliverWith(backend, delivery, giveUp);
    return results.map((result) => {
      const { recipient } = result;
      if ('unknown' in result) return `${recipient} unknown ${result.unknown}`;
      return `${recipient} ${result.status} ${result.reason}`;
    });
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof BackendBusyError) return [`busy: ${message}`];
    return [`${error instanceof BackendUnavailableError ? 'unavailable' : 'unknown'}: ${message}`];
  }
}

/** Has a backend deliver as soon as it has room. */
export async function deliverWith(
  backend: Backend,
  delivery: Delivery,
  giveUp = new AbortController().signal,
): Promise<Result[]> {
  const place = await backend.reserve({ signal: giveUp });
  return place.deliver(delivery);
}
