import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProxyJournal } from './proxy-journal.ts';
import { addressFault } from '../mail/address-fault.ts';
import { statusClass, statuses } from '../mail/enhanced-status.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../mail/limits.ts';
import type { Verdict } from '../wire/verdicts.ts';
import {
  BackendUnavailable,
  type Backend,
  type Delivery,
  type Result,
  type Rights,
} from './backend.ts';
import { backendTimeMs } from './backend-time.ts';
import { ledgerFault } from './ledger-fault.ts';
import { DigestConflict, type Ledger, type Settled } from './ledger.ts';

/** Nothing can be sent on now; the whole post is to come again later. */
export class RelayUnavailable extends Error {
  /** When it is worth trying again; undefined: soon. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Sends posts on, each recipient once (law 6): asks the ledger, calls the backend for those that were
 * not sent, and writes down what became of them before anybody hears of it.
 */
export class Relay {
  readonly #ledger: Ledger;
  readonly #backend: Backend;
  readonly #journal: ProxyJournal;
  /** Recipients that are taken in one post. */
  readonly recipientsMax: number;
  /** Nothing is refused for good: every 5.x.x is given as a 4.x.x. */
  readonly softBounce: boolean;
  /** Verdicts given so far. */
  readonly given = { sent: 0, deferred: 0, failed: 0 };
  /** Recipients that are being sent, by message: a second post of one waits for its verdict. */
  readonly #inProgress = new Map<string, Promise<Verdict>>();
  /** Write down how recipients ended, where that failed. */
  readonly #unwritten = new Set<() => Promise<void>>();

  constructor(
    ledger: Ledger,
    backend: Backend,
    journal: ProxyJournal,
    recipientsMax: number,
    softBounce = false,
  ) {
    this.#ledger = ledger;
    this.#backend = backend;
    this.#journal = journal;
    this.recipientsMax = recipientsMax;
    this.softBounce = softBounce;
  }

  /**
   * The verdicts on the recipients, in their order. Rejects with DigestConflict, or RelayUnavailable
   * when ledger or backend cannot work.
   */
  async send(
    id: string,
    envelope: Envelope,
    bytes: Buffer,
    rights: Rights = {},
  ): Promise<Verdict[]> {
    const refusals = this.#refusals(envelope);
    const candidates = envelope.recipients.filter((recipient) => !refusals.has(recipient));
    const theirs = candidates.flatMap(
      (recipient) => this.#inProgress.get(key(id, recipient)) ?? [],
    );
    const mine = candidates.filter((recipient) => !this.#inProgress.has(key(id, recipient)));

    const sending = this.#sendMine({
      ...rights,
      id,
      sender: envelope.sender,
      recipients: mine,
      bytes,
    });
    for (const recipient of mine) {
      const verdict = sending.then(
        (verdicts) => verdicts.find((each) => each.recipient === recipient) ?? lost(recipient),
      );
      verdict.catch(() => {}); // Who waits for it hears of it; that nobody does is no fault.
      this.#inProgress.set(key(id, recipient), verdict);
    }
    const verdicts = [...refusals.values(), ...(await sending), ...(await waitFor(theirs))];
    const byRecipient = new Map(verdicts.map((verdict) => [verdict.recipient, verdict]));
    const inOrder = envelope.recipients
      .map((recipient) => byRecipient.get(recipient) ?? lost(recipient))
      .map((verdict) => (this.softBounce ? softened(verdict) : verdict));
    for (const { status } of inOrder) this.given[statusClass(status) ?? 'deferred'] += 1;
    this.#journal.verdicts(id, envelope.sender, inOrder);
    return inOrder;
  }

  /** Resolves when a post could be taken, as far as the ledger is concerned. */
  async check(): Promise<void> {
    await this.#ledger.check().catch((error: Error) => this.#ledgerFailed(error));
  }

  /**
   * Resolves when nothing is being sent any more. A client that went away has left its message with the
   * backend: the proxy must not end before it has written down what became of it. What could not be written
   * gets a last try; in vain, the next start lists it as unknown.
   */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#inProgress.values());
    await Promise.allSettled([...this.#unwritten].map(async (write) => write()));
  }

  /** Verdicts that need no backend: addresses that are none, and what is too much for one post. */
  #refusals({ recipients }: Envelope): Map<string, Verdict> {
    const refusals = new Map<string, Verdict>();
    let taken = 0;
    for (const recipient of recipients) {
      const fault = addressFault(recipient);
      const refuse = (status: string, reason: string) =>
        refusals.set(recipient, { recipient, status, reason });
      if (fault) refuse(statuses.badRecipient, fault);
      else if (taken === this.recipientsMax) refuse(statuses.surplus, SURPLUS);
      else taken += 1;
    }
    return refusals;
  }

  async #sendMine(delivery: Delivery): Promise<Verdict[]> {
    const { id, recipients, bytes } = delivery;
    const done = () => recipients.forEach((each) => this.#inProgress.delete(key(id, each)));
    try {
      const digest = createHash('sha256').update(bytes).digest();
      const known = await this.#ledger
        .begin(id, digest, recipients, Date.now())
        .catch((error: Error) => this.#ledgerFailed(error));
      const fresh = recipients.filter((recipient) => !known.has(recipient));
      const results = await this.#callBackend({ ...delivery, recipients: fresh });
      await this.#settle(id, results, done);
      const before = [...known].map(([recipient, kept]) => ({ recipient, ...kept }));
      return [...before, ...results.map(verdictOf)];
    } catch (error) {
      done();
      throw error;
    }
  }

  /** Calls the backend, for a limited time; what it does not answer for is unknown. */
  async #callBackend(delivery: Delivery): Promise<Result[]> {
    const { id, recipients } = delivery;
    if (recipients.length === 0) return [];
    const unknown = (reason: string) =>
      recipients.map((recipient) => ({ recipient, unknown: reason }));
    const timeUp = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Result[]>((resolve) => {
      timer = setTimeout(() => {
        timeUp.abort();
        resolve(unknown('the backend took too long'));
      }, backendTimeMs(delivery.bytes.length)).unref();
    });
    try {
      const results = await Promise.race([this.#backend(delivery, timeUp.signal), late]);
      const answered = new Map(results.map((result) => [result.recipient, result]));
      return unknown('the backend said nothing of it').map(
        (missing) => answered.get(missing.recipient) ?? missing,
      );
    } catch (error) {
      const { message } = error as Error;
      if (!(error instanceof BackendUnavailable)) return unknown(message);
      this.#journal.proxyTrouble(message);
      const nothingSent = recipients.map((address) => ({ address, kind: 'refused' as const }));
      await this.#ledger
        .settle(id, nothingSent, Date.now())
        .catch((error: Error) => this.#ledgerFailed(error));
      throw new RelayUnavailable(message, error.retryAfterMs);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Writes down how recipients ended, then calls `done`. When that fails, the verdicts are true all the
   * same: they are given, and kept in memory for repeats until they are written.
   */
  async #settle(id: string, results: readonly Result[], done: () => void): Promise<void> {
    const unknown = results.flatMap((result) => ('unknown' in result ? [result] : []));
    if (unknown.length > 0) {
      const recipients = unknown.map(({ recipient }) => recipient);
      this.#journal.outcomeUnknown(id, recipients, unknown[0]?.unknown ?? '');
    }
    const settled = results.map(settledOf);
    const write = async () => {
      await this.#ledger.settle(id, settled, Date.now());
      this.#unwritten.delete(write);
      done();
    };
    await write().catch((error: Error) => {
      this.#journal.proxyTrouble(`the ledger cannot be written: ${error.message}`);
      this.#unwritten.add(write);
      void this.#writeLater(write);
    });
  }

  async #writeLater(write: () => Promise<void>): Promise<void> {
    while (this.#unwritten.has(write)) {
      await sleep(limits.spoolRetryMs, undefined, { ref: false });
      // What fails was told once; posts that come meanwhile are refused and tell it too.
      if (this.#unwritten.has(write)) await write().catch(() => {});
    }
  }

  #ledgerFailed(error: Error): never {
    if (error instanceof DigestConflict) throw error;
    const text = `the ledger cannot be written: ${ledgerFault(this.#ledger.file, error)}`;
    this.#journal.proxyTrouble(text);
    throw new RelayUnavailable(text);
  }
}

function settledOf(result: Result): Settled {
  const address = result.recipient;
  if ('unknown' in result) return { address, kind: 'unknown', reason: result.unknown };
  const { status, reason } = result;
  const sent = statusClass(status) === 'sent';
  return sent ? { address, kind: 'sent', status, reason } : { address, kind: 'refused' };
}

function verdictOf(result: Result): Verdict {
  if (!('unknown' in result)) return result;
  return { recipient: result.recipient, status: statuses.unknown, reason: result.unknown };
}

/** For a backend that is being set up: the ledger forgets both kinds, so nothing else differs. */
function softened(verdict: Verdict): Verdict {
  const { status, reason } = verdict;
  if (statusClass(status) !== 'failed') return verdict;
  return {
    ...verdict,
    status: `4${status.slice(1)}`,
    reason: `soft bounce of ${status}: ${reason}`,
  };
}

async function waitFor(theirs: Promise<Verdict>[]): Promise<Verdict[]> {
  try {
    return await Promise.all(theirs);
  } catch (error) {
    throw new RelayUnavailable(`the post before this one failed: ${(error as Error).message}`);
  }
}

function lost(recipient: string): never {
  throw new Error(`no verdict on ${recipient}: a defect of the proxy`);
}

function key(id: string, recipient: string): string {
  return `${id} ${recipient}`;
}

const SURPLUS = 'too many recipients in one post, post the rest again';
