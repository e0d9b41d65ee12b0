import { sleep, type Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import { nameOfStored } from '../message-name.ts';
import { OWNERS } from './advisory-locks.ts';
import type { PostgresSession } from './postgres-session.ts';
import { sql } from './statements.ts';

/**
 * Adds observed time to the ledger, and takes over what dead proxies had begun. All proxies look, and each look is counted in
 * the ledger: a proxy adds the time since its own last look only if no other has looked since. So no time is added twice, no
 * proxy is special, and one that was suspended adds nothing that others have added (law 12).
 */
export class LookLoop {
  readonly #clock: Clock;
  readonly #takeOverMs: number;
  readonly #journal: ProxyJournal;
  /** The last look of this proxy: how many there were, when it was, and in which session. */
  #last: { looks: number; at: number; session: PostgresSession } | undefined;

  constructor(clock: Clock, takeOverMs: number, journal: ProxyJournal) {
    this.#clock = clock;
    this.#takeOverMs = takeOverMs;
    this.#journal = journal;
  }

  /** Looks regularly until stopped; `session` gives the present one, if there is one. */
  async run(session: () => PostgresSession | undefined, stop: AbortSignal): Promise<void> {
    const everyMs = Math.min(limits.ledgerLookMs, this.#takeOverMs / 4);
    while (!stop.aborted) {
      // Where it fails, the session is lost, or the posts meet the same fault and tell it.
      await this.#look(session()).catch(() => {
        this.#last = undefined;
      });
      await sleep(this.#clock, everyMs, { signal: stop });
    }
  }

  async #look(session: PostgresSession | undefined): Promise<void> {
    const last = this.#last?.session === session ? this.#last : undefined;
    this.#last = undefined;
    if (!session) return;
    const at = this.#clock.now();
    const rows = last ? await this.#add(session, last.looks, Math.floor(at - last.at)) : [];
    const [count] = rows.length > 0 ? rows : await session.query<Look>('house', sql.looks, []);
    if (count) this.#last = { looks: count.looks, at, session };
    this.#tell(rows);
  }

  async #add(session: PostgresSession, looks: number, elapsedMs: number): Promise<Look[]> {
    const wall = this.#clock.wallNow();
    const values = [looks, elapsedMs, wall, OWNERS, this.#takeOverMs, REASON];
    return session.query<Look>('house', sql.look, values);
  }

  #tell(rows: readonly Look[]): void {
    const recipients = new Map<string, string[]>();
    for (const { message, address } of rows) {
      if (message === null || address === null) continue;
      recipients.set(message, [...(recipients.get(message) ?? []), address]);
    }
    for (const [message, addresses] of recipients) {
      this.#journal.unknown(nameOfStored(message), addresses, REASON);
    }
  }
}

/** A recipient that was taken over, if any, and how many looks there were. */
type Look = { looks: number; message: string | null; address: string | null };

const REASON = 'the proxy that was sending it ended, or was cut off, before the backend answered';
