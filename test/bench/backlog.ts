/** A message of 4 KB, the same for all who relay. */
export const MESSAGE = `Subject: bench\n\n${`${'x'.repeat(79)}\n`.repeat(51)}`;
export const SENDER = 's@example.com';
export const RECIPIENT = 'r@example.org';

/** Relays so many messages from a queue that is filled before, to a sink; returns the seconds that took. */
export type Relaying = (count: number) => Promise<number>;

/** How many seconds the action takes. */
export async function seconds(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return (performance.now() - start) / 1000;
}
