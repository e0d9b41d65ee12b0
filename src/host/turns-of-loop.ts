import { setImmediate } from 'node:timers/promises';

/**
 * Resolves after so many turns of Node's event loop: what has arrived by then is read and handled. Where nothing has
 * arrived, this takes microseconds.
 */
export async function turnsOfLoop(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await setImmediate();
}
