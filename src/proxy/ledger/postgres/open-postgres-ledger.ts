import { systemClock, type Clock } from '../../../host/clock.ts';
import { exitCodes, CommandError } from '../../../host/command-error.ts';
import { limits } from '../../../limits.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import { keepTrying } from './keep-trying.ts';
import { libpqSettings, type PostgresSettings } from './libpq-settings.ts';
import { postgresFault, PostgresUnusableError } from './postgres-error.ts';
import { PostgresLedger } from './postgres-ledger.ts';
import { PostgresSession } from './postgres-session.ts';
import { sql } from './statements.ts';
import { mayPass, unusablePostgres } from './unusable-postgres.ts';

/** How a proxy opens a ledger in PostgreSQL. */
export interface OpenOptions {
  journal: ProxyJournal;
  /** See limits.takeOverMs. */
  takeOverMs?: number;
  clock?: Clock;
  /** What to do while the database cannot be had and may come by itself; without it that is an error. */
  waiting?: Waiting | undefined;
}

/** What a program does while it waits for its ledger. */
export interface Waiting {
  /** Hears why it waits, again and again. */
  because: (reason: string) => void;
  /** Ends the waiting. */
  stop: AbortSignal;
}

/**
 * Opens the ledger that `--ledger` names, or makes it. Throws unusablePostgres, and CommandError: 78 for a setting, 0 when it
 * was stopped while it waited.
 */
export async function openPostgresLedger(
  name: string,
  { journal, takeOverMs = limits.takeOverMs, clock = systemClock, waiting }: OpenOptions,
): Promise<PostgresLedger> {
  const settings = libpqSettings(name);
  const open = async () => openFirst(settings, clock);
  try {
    const opened = waiting
      ? await keepTrying(open, {
          clock,
          stop: waiting.stop,
          failed: (reason) =>
            waiting.because(`the ledger ${name} cannot be used: ${postgresFault(reason)}`),
          tell: (reason) => journal.databaseLost(name, postgresFault(reason)),
          isFinal: (reason) => !mayPass(reason),
        })
      : await open();
    if (!opened) throw new CommandError(exitCodes.ok, STOPPED);
    const reopen = async (owner: number) =>
      PostgresSession.open(settings, clock, { owner, ledgerId: opened.id });
    return new PostgresLedger({ ...opened, name, clock, journal, takeOverMs, reopen });
  } catch (error) {
    throw unusablePostgres(name, error as Error);
  }
}

/** The first session of a proxy, and what it finds. */
async function openFirst(settings: PostgresSettings, clock: Clock) {
  const session = await PostgresSession.open(settings, clock);
  try {
    const [about] = await session.query<About>('house', sql.about, [limits.unknownCounted]);
    if (!about) throw new PostgresUnusableError('the ledger has lost its id: see ledger fsck');
    const { id, is_empty: isEmpty, listed } = about;
    return { session, id, isEmpty, unknown: { listed, found: 0 } };
  } catch (error) {
    session.end(error as Error);
    throw error;
  }
}

const STOPPED = 'the proxy was stopped while it waited for the database of its ledger';

type About = { id: string; is_empty: boolean; listed: number };
