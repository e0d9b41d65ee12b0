import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { exclusiveLock } from '../../sqlite/exclusive-lock.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { rebuildLedger } from '../../proxy/ledger/sqlite/rebuild-ledger.ts';
import { becomeOwnerOfLedger, ledgerFailure } from '../../proxy/ledger/with-ledger.ts';
import { tellRebuilt } from '../tell-rebuilt.ts';

/** Repairs a ledger that no proxy has, and tells what came of it. Throws CommandError. */
export async function repairLedger(file: string): Promise<void> {
  await becomeOwnerOfLedger(file);
  await withLedgerLock(file, async () =>
    tellRebuilt(
      file,
      () => rebuildLedger(file, Date.now()),
      `nothing is wrong with the ledger ${file}`,
    ),
  );
}

/** Runs an action on a ledger that no proxy has. Throws CommandError. */
export async function withLedgerLock(file: string, action: () => Promise<void>): Promise<void> {
  const lockFile = `${file}.lock`;
  try {
    if (!existsSync(lockFile) && !isDatabase(file)) {
      const why = `it is no database, and has no ${lockFile} of a proxy beside it`;
      throw new CommandError(exitCodes.usage, `${file} is no ledger: ${why}`);
    }
    const lock = exclusiveLock(lockFile);
    if (!lock) {
      const stop = 'systemctl stop appengine-mailer-proxy.socket appengine-mailer-proxy';
      const busy = `a proxy is at work on ${file}: ${stop}`;
      throw new CommandError(exitCodes.busy, busy);
    }
    try {
      await action();
    } finally {
      lock.release();
    }
  } catch (error) {
    throw ledgerFailure(file, error as Error);
  }
}

function isDatabase(file: string): boolean {
  const magic = Buffer.from('SQLite format 3');
  const start = Buffer.alloc(magic.length);
  const fd = openSync(file, 'r');
  try {
    readSync(fd, start);
  } finally {
    closeSync(fd);
  }
  return start.equals(magic);
}
