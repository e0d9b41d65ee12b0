import { sleep } from '../../host/clock.ts';
import { statusClass } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import type { Result } from '../backends/backend.ts';
import type { Ledger, Settlement } from './ledger.ts';
import type { PostedMessage } from './message-name.ts';
import type { ProxyJournal } from '../proxy-journal.ts';

/** Writes into the ledger what became of deliveries, and tries again while it cannot be written. */
export class OutcomeWriter {
  readonly #ledger: Ledger;
  readonly #journal: ProxyJournal;
  /** What is still to be written. */
  readonly #unwritten = new Set<() => Promise<void>>();

  constructor(ledger: Ledger, journal: ProxyJournal) {
    this.#ledger = ledger;
    this.#journal = journal;
  }

  /** Writes the results, then calls `written`. Resolves after the first try, since the results are true in any case. */
  async write(
    message: PostedMessage,
    results: readonly Result[],
    written: () => void,
  ): Promise<void> {
    const unknown = results.flatMap((result) => ('unknown' in result ? [result] : []));
    if (unknown.length > 0) {
      const recipients = unknown.map(({ recipient }) => recipient);
      this.#journal.unknown(message, recipients, unknown[0]?.unknown ?? '');
    }
    const settled = results.map(settledOf);
    let writing: Promise<void> | undefined;
    const settle = async () => {
      const lost = await this.#ledger.settle(message, settled);
      if (lost.length > 0) this.#journal.unknown(message, lost, TAKEN_OVER);
      this.#unwritten.delete(write);
      written();
    };
    // One try at a time, so that an unknown outcome is listed once.
    const write = async () =>
      (writing ??= settle().finally(() => {
        writing = undefined;
      }));
    await write().catch((error: Error) => {
      this.#journal.trouble(`the ledger cannot be written: ${error.message}`);
      this.#unwritten.add(write);
      void this.#writeLater(write);
    });
  }

  /** A last try before the program ends; the next start lists as unknown what is not written then. */
  async flush(): Promise<void> {
    await Promise.allSettled([...this.#unwritten].map(async (write) => write()));
  }

  async #writeLater(write: () => Promise<void>): Promise<void> {
    while (this.#unwritten.has(write)) {
      await sleep(this.#ledger.clock, limits.spoolRetryMs, { idle: true });
      // The first failure was told, and posts that come meanwhile are refused and tell it too.
      if (this.#unwritten.has(write)) await write().catch(() => {});
    }
  }
}

const TAKEN_OVER = 'another proxy listed it as unknown while this one was cut off from the ledger';

function settledOf(result: Result): Settlement {
  const address = result.recipient;
  if ('unknown' in result) return { address, kind: 'unknown', reason: result.unknown };
  const { status, reason } = result;
  const sent = statusClass(status) === 'sent';
  return { address, kind: sent ? 'sent' : 'refused', status, reason };
}
