import type { ProxyJournal } from '../proxy-journal.ts';
import type { LedgerPlace } from './ledger-place.ts';
import type { Ledger } from './ledger.ts';
import type { Waiting } from './postgres/open-postgres-ledger.ts';
import { LedgerLock, openSqliteLedger } from './sqlite/open-sqlite-ledger.ts';

/** A lock that has to be held before a ledger is opened. */
export interface Lock {
  take(): void;
  release(): void;
}

/** The lock of a ledger that one proxy has for itself; taken where its file is there. Throws as LedgerLock does. */
export function lockOf({ kind, name }: LedgerPlace): Lock {
  return kind === 'file' ? new LedgerLock(name) : SHARED;
}

const SHARED: Lock = { take() {}, release() {} };

/** Opens the ledger of a proxy, whose lock is taken; waits for one in PostgreSQL while nobody answers there. Rejects with CommandError. */
export async function openLedger(
  { kind, name }: LedgerPlace,
  options: { journal: ProxyJournal; takeOverMs: number; waiting: Waiting },
): Promise<Ledger> {
  if (kind === 'file') return openSqliteLedger(name, options.journal);
  const { openPostgresLedger } = await import('./postgres/open-postgres-ledger.ts');
  return openPostgresLedger(name, options);
}
