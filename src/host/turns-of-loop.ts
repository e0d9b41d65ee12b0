import { setImmediate } from 'node:timers/promises';

/**
 * Resolves after so many turns of Node's event loop. By then the program has read and handled what had arrived. An idle
 * program waits for microseconds only.
 */
export async function turnsOfLoop(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await setImmediate();
}
