import { sleep } from '../../host/clock.ts';
import type { ProxyJournal } from '../proxy-journal.ts';
import { limits } from '../../limits.ts';
import type { Ledger } from './ledger.ts';

/** Prunes the ledger regularly until stopped, in small steps, so that mail passes between them. */
export async function pruneLedgerLoop(
  ledger: Ledger,
  journal: ProxyJournal,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    const waitMs = (await prune(ledger, journal))
      ? limits.housekeepingStepMs
      : limits.housekeepingMs;
    await sleep(ledger.clock, waitMs, { signal: stop });
  }
}

async function prune(ledger: Ledger, journal: ProxyJournal): Promise<boolean> {
  try {
    return await ledger.prune();
  } catch (error) {
    journal.notPruned(ledger.faultText(error as Error));
    return false;
  }
}
