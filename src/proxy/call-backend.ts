import type { Clock } from '../host/clock.ts';
import { withinTime } from '../host/within-time.ts';
import { limits } from '../limits.ts';
import {
  BackendUnavailableError,
  type Delivery,
  type Place,
  type Result,
} from './backends/backend.ts';

/**
 * Calls the backend, for limits.deliveryMs at most. A recipient for whom it gives no result is unknown. Rejects only
 * with BackendUnavailableError: nothing was sent. No delivery that keeps to its own time limits takes so long. One that does
 * goes on, since nobody can take back what the backend has. All its recipients are listed as unknown then (law 6).
 */
export async function callBackend(
  place: Place,
  delivery: Delivery,
  clock: Clock,
): Promise<Result[]> {
  const unknown = (reason: string) =>
    delivery.recipients.map((recipient) => ({ recipient, unknown: reason }));
  try {
    const results = await withinTime(limits.deliveryMs, 'no end', { clock }, async (limit) =>
      Promise.race([place.deliver(delivery), limit.reached]),
    );
    if (!results) return unknown('the backend took too long');
    const given = new Map(results.map((result) => [result.recipient, result]));
    return unknown('the backend said nothing of it').map(
      (missing) => given.get(missing.recipient) ?? missing,
    );
  } catch (error) {
    if (error instanceof BackendUnavailableError) throw error;
    return unknown((error as Error).message);
  }
}
