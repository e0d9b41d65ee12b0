/** A message of 4 KB, the same for all who relay. */
export const MESSAGE = `Subject: bench\n\n${`${'x'.repeat(79)}\n`.repeat(51)}`;
export const SENDER = 's@example.com';
export const RECIPIENT = 'r@example.org';

/** How long a backlog took, and the CPU that each program used meanwhile, by its name, where that is known. */
export interface Relayed {
  seconds: number;
  cpuMs?: Readonly<Record<string, number>>;
}

/** Relays so many messages from a queue that is filled before, to a sink. */
export type Relaying = (count: number) => Promise<Relayed>;

/** Messages a second, and what bounds that. */
export interface Rate {
  perSecond: number;
  bound?: string | undefined;
}

export async function rateOf(relaying: Relaying, count: number): Promise<Rate> {
  const { seconds: took, cpuMs = {} } = await relaying(count);
  const shares = Object.entries(cpuMs).map(
    ([name, ms]) =>
      `${name} ${Math.round(ms / took / 10)} %, ${(ms / count).toFixed(2)} ms a message`,
  );
  const bound = shares.length > 0 ? `CPU: ${shares.join('; ')}` : undefined;
  return { perSecond: count / took, bound };
}

/** How many seconds the action takes. */
export async function seconds(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return (performance.now() - start) / 1000;
}
