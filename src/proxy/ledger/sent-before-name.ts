import { untilAborted } from '../../host/until-aborted.ts';
import { withinTime } from '../../host/within-time.ts';
import { statusClass } from '../../mail/enhanced-status.ts';
import { BackendBusyError, type Delivery } from '../backends/backend.ts';
import type { DeliveryTasks } from '../delivery-tasks.ts';
import { earlyTimer } from '../http/early-timer.ts';
import type { Kept } from './ledger.ts';

/**
 * The recipients that were sent the same bytes under the same id by a delivery that was under way when the key was given
 * its name: it is waited for (law 6). Whom it refused means nothing here, since it may be another host's. Rejects with
 * BackendBusyError after `ms` milliseconds.
 */
export async function sentBeforeName(
  tasks: DeliveryTasks,
  { key, id, recipients }: Delivery,
  digest: Buffer,
  ms: number,
): Promise<[string, Kept][]> {
  if (key === '') return [];
  const same = [...tasks.of({ key: '', id }, recipients)].filter(([, task]) =>
    task.digest.equals(digest),
  );
  const over = Promise.allSettled(same.map(async ([, task]) => task.over));
  const work = async (timeUp: AbortSignal) => Promise.race([over, untilAborted(timeUp)]);
  if (!(await withinTime(ms, 'no end', [], work, earlyTimer))) {
    throw new BackendBusyError('the same message is still being sent');
  }
  return same.flatMap(([recipient, { verdicts }]): [string, Kept][] => {
    const verdict = verdicts?.get(recipient);
    return verdict && statusClass(verdict.status) === 'sent' ? [[recipient, verdict]] : [];
  });
}
