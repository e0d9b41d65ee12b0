import { sleep, type Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import { nameOfStored } from '../message-name.ts';
import { takenForDead } from './postgres-error.ts';
import type { PostgresSession } from './postgres-session.ts';
import { sql } from './statements.ts';

/**
 * Adds observed time to the ledger, shows that this proxy is alive, and takes over what others had begun that show it no more,
 * because they died, were cut off or are suspended. All proxies look, and each look is counted in the ledger: a proxy adds the time
 * since its own last look only if no other has looked since. So no time is added twice, no proxy is special, and one that was
 * suspended adds nothing that others have added (law 12).
 */
export class LookLoop {
  readonly #clock: Clock;
  readonly #takeOverMs: number;
  readonly #ledger: string;
  readonly #journal: ProxyJournal;
  /** The last look of this proxy: how many there were, when it was, and in which session. */
  #last: { looks: number; at: number; session: PostgresSession } | undefined;
  /** The most looks that this proxy has seen, and the observed time then. */
  #latest = { looks: 0, observed: 0 };

  /** `ledger`: its name, for people. */
  constructor(
    clock: Clock,
    { takeOverMs, ledger, journal }: { takeOverMs: number; ledger: string; journal: ProxyJournal },
  ) {
    this.#clock = clock;
    this.#takeOverMs = takeOverMs;
    this.#ledger = ledger;
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
    const beat = async () => session.query<Look>('house', sql.beat, [session.owner]);
    const [look] = rows.length > 0 ? rows : await beat();
    if (!look) {
      session.end(takenForDead());
      return;
    }
    this.#last = { looks: look.looks, at, session };
    this.#notice(look);
    this.#tell(rows);
  }

  async #add(session: PostgresSession, looks: number, elapsedMs: number): Promise<Look[]> {
    const wall = this.#clock.wallNow();
    const values = [looks, elapsedMs, wall, session.owner, this.#takeOverMs, REASON];
    return session.query<Look>('house', sql.look, values);
  }

  /** A look that was committed and is not there is of a database that has lost its last commits. */
  #notice({ looks, observed }: Look): void {
    const lostMs = this.#latest.observed - observed;
    if (looks < this.#latest.looks) this.#journal.databaseSetBack(this.#ledger, lostMs);
    this.#latest = { looks, observed };
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

/** How many looks there were, the observed time, and a recipient that was taken over, if any. */
type Look = { looks: number; observed: number; message: string | null; address: string | null };

const REASON =
  'the proxy that was sending it ended, was cut off or was suspended before the backend answered';
