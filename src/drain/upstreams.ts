import { limits } from '../limits.ts';
import type { Fallback } from '../spool/endpoint.ts';
import type { PostedTo } from '../spool/posted-to.ts';
import type { Connection } from '../wire/connection.ts';
import type { Courier } from './courier.ts';
import type { Endpoint } from './endpoint.ts';

/** One of the proxies of GMAIL_PROXY_URL. */
export interface Upstream {
  readonly url: string;
  readonly connection: Connection;
  readonly endpoint: Endpoint;
  readonly courier: Courier;
  /** What its last trouble was. */
  fault?: string;
}

/**
 * The proxies in the order of GMAIL_PROXY_URL, of which the first that answers is used. When that one fails, the others
 * are asked one after the other, and the earlier ones again with their backoff until they answer. Only when none answers
 * the endpoint is down. With one proxy that is so at once.
 */
export class Upstreams {
  readonly all: readonly Upstream[];

  constructor(all: readonly Upstream[], now: number) {
    this.all = all;
    this.#askLaterOnesFirst(now);
    // A message that is posted for no ledger waits for this very URL if its answer is lost.
    const [first] = all;
    if (first && all.length > 1 && first.connection.ledger === undefined)
      first.endpoint.askFirst(now);
  }

  /** The one that messages are posted to; undefined while none is known to answer. */
  get current(): Upstream | undefined {
    return this.all.find(({ endpoint }) => endpoint.downUntil === undefined);
  }

  /** When the next one is asked, if none of them answers; undefined while one does, or has not been asked yet. */
  get downUntil(): number | undefined {
    if (this.current || this.#isSeeking) return undefined;
    return Math.min(...this.all.map(({ endpoint }) => endpoint.downUntil ?? Infinity));
  }

  /** That posts go to another one than the first, or to another address of its name, and why; null otherwise. */
  get fallback(): Omit<Fallback, 'since'> | null {
    const { current } = this;
    const [first] = this.all;
    if (!current || !first) return null;
    return current === first ? otherAddress(first) : { url: current.url, reason: faultOf(first) };
  }

  /** Why none answers: each one's trouble, with its URL where there are several. */
  get faults(): string {
    const [first] = this.all;
    if (first && this.all.length === 1) return first.fault ?? '';
    return this.all.map(faultOf).join('; ');
  }

  /** How many posts may be begun, and in how many milliseconds one more may be: see Endpoint. */
  capacity(now: number): number {
    return this.current?.endpoint.capacity(now) ?? 0;
  }

  capacityInMs(now: number): number {
    return this.current?.endpoint.capacityInMs(now) ?? Infinity;
  }

  /**
   * Those that are to be asked, and in how many milliseconds each: while none is known to answer, those that were not
   * asked yet, one after the other; `once`: these alone.
   */
  toProbe(now: number, once: boolean): { upstream: Upstream; inMs: number }[] {
    const asked = this.#isSeeking
      ? this.all.filter(({ endpoint }) => endpoint.isUntried).slice(0, 1)
      : once
        ? []
        : this.#failed;
    return asked
      .filter(({ courier }) => !courier.probing)
      .map((upstream) => ({ upstream, inMs: (upstream.endpoint.downUntil ?? now) - now }));
  }

  /** One of them failed. If it was the one in use, the others are asked now. */
  failed(
    upstream: Upstream,
    { fault, wasUsed, now }: { fault: string; wasUsed: boolean; now: number },
  ): void {
    upstream.fault = fault;
    if (!wasUsed || this.current) return;
    for (const { endpoint } of this.all) endpoint.askFirst(now);
  }

  /** One of them answers again. If it is the one in use from now on, those behind it are asked anew before they are used. */
  answered(upstream: Upstream, now: number): void {
    if (upstream === this.current) this.#askLaterOnesFirst(now);
  }

  /** An operator wants the proxies asked now; see Endpoint. */
  heedCalls(calls: number, now: number): void {
    for (const { endpoint } of this.all) endpoint.heedCalls(calls, now);
  }

  /**
   * The one that can know what became of a message that was posted without an answer: it has the same ledger, or the same
   * URL where the ledger is not known. Undefined where none of those that answer is known to be it.
   */
  holderOf(posted: PostedTo): Upstream | undefined {
    const holders = this.all.filter(
      (each) => each.endpoint.downUntil === undefined && holds(each, posted),
    );
    const { current } = this;
    return current && holders.includes(current) ? current : holders[0];
  }

  /** Those that may turn out to be it when they are asked: they showed its ledger last, or none yet, or have its URL. */
  mayHold(posted: PostedTo): readonly Upstream[] {
    return this.all.filter(
      (each) =>
        each.url === posted.url ||
        (posted.ledger !== null && (each.connection.ledger ?? posted.ledger) === posted.ledger),
    );
  }

  /** Those before the one in use; all while none is. */
  get #failed(): readonly Upstream[] {
    const { current } = this;
    return current ? this.all.slice(0, this.all.indexOf(current)) : this.all;
  }

  /** Some may answer that have not been asked since the last one failed. */
  get #isSeeking(): boolean {
    return !this.current && this.all.some(({ endpoint }) => endpoint.isUntried);
  }

  #askLaterOnesFirst(now: number): void {
    const { current } = this;
    if (!current) return;
    for (const { endpoint } of this.all.slice(this.all.indexOf(current) + 1))
      endpoint.askFirst(now);
  }
}

function holds({ url, connection: { ledger } }: Upstream, posted: PostedTo): boolean {
  const isLedgerKnown = posted.ledger !== null && ledger !== undefined;
  return isLedgerKnown ? ledger === posted.ledger : url === posted.url;
}

function otherAddress({ url, connection }: Upstream): Omit<Fallback, 'since'> | null {
  const { reached, insteadOf = [] } = connection.pool.used ?? {};
  if (!reached || insteadOf.length === 0) return null;
  const reasons = insteadOf.map(([address, fault]) => `${url} at ${address}: ${fault}`);
  const at = `${url} at ${reached.address}`.slice(0, limits.proxyUrlChars);
  return { url: at, reason: reasons.join('; ') };
}

function faultOf({ url, fault = 'it has not answered' }: Upstream): string {
  return `${url}: ${fault}`;
}
