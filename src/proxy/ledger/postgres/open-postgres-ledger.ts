import { systemClock, type Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import { libpqSettings } from './libpq-settings.ts';
import { PostgresUnusableError } from './postgres-error.ts';
import { PostgresLedger } from './postgres-ledger.ts';
import { PostgresSession } from './postgres-session.ts';
import { sql } from './statements.ts';
import { unusablePostgres } from './unusable-postgres.ts';

/** How a proxy opens a ledger in PostgreSQL. */
export interface OpenOptions {
  journal: ProxyJournal;
  /** See limits.takeOverMs. */
  takeOverMs?: number;
  clock?: Clock;
}

/** Opens the ledger that `--ledger` names, or makes it. Throws unusablePostgres, and CommandError 78 for a setting. */
export async function openPostgresLedger(
  name: string,
  { journal, takeOverMs = limits.takeOverMs, clock = systemClock }: OpenOptions,
): Promise<PostgresLedger> {
  const settings = libpqSettings(name);
  const reopen = async (owner?: number) => PostgresSession.open(settings, clock, owner);
  try {
    const session = await reopen();
    const [about] = await session.query<About>('house', sql.about, [limits.unknownCounted]);
    if (!about) throw new PostgresUnusableError('the ledger has lost its id: see ledger fsck');
    const { id, is_empty: isEmpty, listed } = about;
    const unknown = { listed, found: 0 };
    const known = { id, name, isEmpty, unknown };
    return new PostgresLedger({ ...known, clock, journal, takeOverMs, session, reopen });
  } catch (error) {
    throw unusablePostgres(name, error as Error);
  }
}

type About = { id: string; is_empty: boolean; listed: number };
