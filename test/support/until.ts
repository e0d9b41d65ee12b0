import { setTimeout as sleep } from 'node:timers/promises';

/** Looks until the condition holds, for what gives no event; fails with the text after `seconds`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  text: () => string,
  seconds = 60,
): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${text()}`);
    await sleep(100);
  }
}
