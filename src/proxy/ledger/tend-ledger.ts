import { watchLog } from '../../sqlite/watch-log.ts';
import type { ProxyJournal } from '../proxy-journal.ts';
import type { Ledger } from './ledger.ts';
import { pruneLedgerLoop } from './prune-ledger-loop.ts';
import { watchLedger } from './watch-ledger.ts';

/**
 * Prunes and watches the ledger of a proxy until stopped, or until its files are replaced: then it resolves with what is
 * wrong, and the proxy has to end.
 */
export async function tendLedger(
  ledger: Ledger,
  journal: ProxyJournal,
  stop: AbortSignal,
): Promise<Error | undefined> {
  const replaced = new AbortController();
  const end = AbortSignal.any([stop, replaced.signal]);
  const watched = watchLedger(ledger, end).then((fault) => {
    if (fault) journal.ledgerReplaced(fault.message);
    replaced.abort();
    return fault;
  });
  await pruneLedgerLoop(ledger, journal, end);
  return watched;
}

/** Tells the journal when the write-ahead log of the ledger grows, until the function that it returns is called. */
export function watchLedgerLog({ file, files }: Ledger, journal: ProxyJournal): () => void {
  return watchLog(files, {
    grown: (bytes, holders) => journal.ledgerLogGrown(file, bytes, holders),
    shrunk: () => journal.ledgerLogShrunk(file),
  });
}
