import { watchLog } from '../../../sqlite/watch-log.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import { pruneLedgerLoop } from '../prune-ledger-loop.ts';
import type { SqliteLedger } from './sqlite-ledger.ts';
import { watchLedger } from './watch-ledger.ts';

/**
 * Prunes and watches the ledger of a proxy until stopped, or until its files are replaced: then it resolves with what is
 * wrong, and the proxy has to end. Tells the journal when its write-ahead log grows.
 */
export async function tendLedger(
  ledger: SqliteLedger,
  journal: ProxyJournal,
  stop: AbortSignal,
): Promise<Error | undefined> {
  const { file, files } = ledger;
  const unwatchLog = watchLog(files, {
    grown: (bytes, holders) => journal.ledgerLogGrown(file, bytes, holders),
    shrunk: () => journal.ledgerLogShrunk(file),
  });
  const replaced = new AbortController();
  const end = AbortSignal.any([stop, replaced.signal]);
  const watched = watchLedger(ledger, end).then((fault) => {
    if (fault) journal.ledgerReplaced(fault.message);
    replaced.abort();
    return fault;
  });
  await pruneLedgerLoop(ledger, journal, end);
  unwatchLog();
  return watched;
}
